# SPDX-License-Identifier: MIT
"""Bytes that come and go: a guest's console, logs, descriptors in the event loop."""
