# SPDX-License-Identifier: MIT
"""What a checkout needs: packages, upstream's sources, the port archives. Standard library only."""
