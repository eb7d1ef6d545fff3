# SPDX-License-Identifier: MIT
"""Without a wall clock: nothing that has a date is verified. With the time set, it is."""

import ssl
import time

import machine
from guest_base import Silent


def attempt(mode):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = mode
    try:
        context.wrap_socket(Silent(), server_hostname="floe.test", do_handshake_on_connect=False).read(1)
        print("begun")
    except OSError as e:
        print(e.args[1])


machine.RTC().datetime((2010, 12, 31, 0, 23, 59, 59, 0))
print(time.gmtime()[0])
attempt(ssl.CERT_REQUIRED)
attempt(ssl.CERT_NONE)
machine.RTC().datetime((2026, 1, 1, 0, 0, 0, 0, 0))
attempt(ssl.CERT_REQUIRED)
