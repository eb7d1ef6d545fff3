# SPDX-License-Identifier: MIT
"""Floe's host side: freezes a Python script into a bootable image and runs it."""

__version__ = "0.1.0"
