# SPDX-License-Identifier: MIT
"""main.py over TLS: `floe run images/mqtt --tls`. The secrets `cert` and `key` are PEM."""

import service
from appliance import tls_context

service.run(8883, tls_context("mqtt"))
