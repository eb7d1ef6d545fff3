# SPDX-License-Identifier: MIT
"""The KVM lab when it is up."""

from __future__ import annotations

from floe.lab.connection import Lab

LAB = Lab(name="kvm", title="the KVM lab", linux="Linux", terminal="terminal.log", log="linux.log")
