# SPDX-License-Identifier: MIT
"""An MQTT broker, 3.1.1 and 5, until Ctrl-C. README.md has the settings."""

import service

service.run()
