# SPDX-License-Identifier: MIT
"""main.py over TLS: `floe run --tls`. The certificate with its chain and its key are the secrets `cert` and `key`."""

import service
from appliance import tls_context

service.run(443, tls_context("web", ("http/1.1",)))
