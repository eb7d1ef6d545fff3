# SPDX-License-Identifier: MIT
"""File systems on disk images, from the host."""
