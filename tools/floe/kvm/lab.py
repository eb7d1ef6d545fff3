# SPDX-License-Identifier: MIT
"""The KVM lab when it is up. Prints nothing."""

from __future__ import annotations

from floe.lab.lab import Lab

LAB = Lab(name="kvm", title="the KVM lab", linux="Linux", terminal="terminal.log", log="linux.log")
