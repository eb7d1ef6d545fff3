# SPDX-License-Identifier: MIT
"""Images as files: the ELF, its notes and symbols."""
