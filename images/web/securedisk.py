# SPDX-License-Identifier: MIT
"""secure.py with disks: `floe run --variant tls-disk --disk FILE`."""

import service
import vfs  # noqa: F401 - a disk is mounted where this is imported
from appliance import tls_context
from reload import Reloader

service.run(443, tls_context("web", ("http/1.1",)), Reloader)
