# SPDX-License-Identifier: MIT
"""main.py over TLS: `floe run images/function --tls`. The secrets `cert` and `key` are PEM."""

import service
from appliance import tls_context

service.run(8443, tls_context("function", ("http/1.1",)))
