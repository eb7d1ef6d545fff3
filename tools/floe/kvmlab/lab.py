# SPDX-License-Identifier: MIT
"""The KVM lab when it is up."""

from __future__ import annotations

from floe.lab.connection import Lab

# Not the network that the inner QEMU has for a guest: it takes who asks from there for itself; UDP answers are lost.
LAB = Lab(name="kvm", title="the KVM lab", linux="Linux", terminal="terminal.log", log="linux.log", net="10.0.3")
