# SPDX-License-Identifier: MIT
"""What a newcomer meets: the README's commands on a fresh Debian."""
