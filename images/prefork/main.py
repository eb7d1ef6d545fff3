# SPDX-License-Identifier: MIT
"""Forks workers, each a VM that serves files and calls handle(event, context) of handler.py. Settings: README.md."""

import service

service.run(8080)
