# SPDX-License-Identifier: MIT
"""secure.py with disks: `floe run --variant tls-disk --disk FILE`."""

import secure  # noqa: F401
import vfs  # noqa: F401 - a disk is mounted where this is imported
