# SPDX-License-Identifier: MIT
"""iperf: a server that iperf 2 and iperf3 measure against, or a client of such a server. README.md has the settings."""

import service

service.run()
