# SPDX-License-Identifier: MIT
"""main.py over TLS: `floe run images/prefork --tls`. The secrets `cert` and `key` are PEM."""

import service
from appliance import tls_context

service.run(8443, tls_context("prefork", ("http/1.1",)))
