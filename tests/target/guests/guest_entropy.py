# SPDX-License-Identifier: MIT
"""Without any source of entropy: `random` goes on, os.urandom and TLS refuse."""

import os
import random
import ssl

for call in (lambda: os.urandom(8), lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
    try:
        call()
        print("no error")
    except OSError as e:
        print(e)
print("random", random.getrandbits(30) != random.getrandbits(30))
