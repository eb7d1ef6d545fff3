# SPDX-License-Identifier: MIT
"""A web server: sites, a proxy, a small JSON API. README.md has the settings."""

import service
from httpd import Limits

service.run(80, Limits())
