# SPDX-License-Identifier: MIT
"""Other hosts: the user's table of them, the line to a floe there, and a copy of a VM that runs there."""
