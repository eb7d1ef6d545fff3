# SPDX-License-Identifier: MIT
"""An image as a container: QEMU, the ELF, and a first process that is the container's engine's."""
