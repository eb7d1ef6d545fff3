# SPDX-License-Identifier: MIT
"""A web server: sites, a proxy, a small JSON API. README.md has the settings."""

import service

service.run(80)
