# SPDX-License-Identifier: MIT
"""What a VM may reach beyond its host's door, and the guard that holds it to that. Parent.py runs a copy of it from a
VM's folder: the standard library only, and imports among the modules here are relative."""
