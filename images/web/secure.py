# SPDX-License-Identifier: MIT
"""main.py over TLS: `floe run --tls`. The certificate with its chain and its key are the secrets `cert` and `key`."""

import service
from appliance import tls_context
from httpd import Limits

limits = Limits()
limits.connections = 192  # each takes about 30 KiB
service.run(443, limits, tls_context("web", ("http/1.1",)))
