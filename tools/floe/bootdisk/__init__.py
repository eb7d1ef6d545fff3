# SPDX-License-Identifier: MIT
"""An image as a disk that firmware boots: GRUB, a small kernel (C) between it and the ELF, partitions, file systems."""
