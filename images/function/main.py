# SPDX-License-Identifier: MIT
"""Each HTTP request is one call of handle(event, context) of handler.py; until Ctrl-C. Settings: README.md."""

import service

service.run(8080)
