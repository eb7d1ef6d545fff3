# SPDX-License-Identifier: MIT
"""A web site from the image's data folder with a small JSON API; serves until Ctrl-C.

Environment: PORT (80), SITE (/rom), IDLE_S (15), HEAD_S (10), MAX_CONNECTIONS (512),
MAX_PER_ADDRESS (three quarters of it).
"""

import service
from httpd import Limits

service.run(80, Limits())
