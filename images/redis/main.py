# SPDX-License-Identifier: MIT
"""A server that speaks Redis's protocol, until Ctrl-C. README.md has the settings."""

import service

service.run()
