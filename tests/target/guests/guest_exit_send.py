# SPDX-License-Identifier: MIT
"""Runs inside the VM: send, and end at once, with the data still on its way."""

from guest_kit import connect

connect("count").sendall(bytes(100000))
