# SPDX-License-Identifier: MIT
"""What is replaced under load. The bench sends this file with another VERSION."""

import gc
import json

from message import Response

import floe

VERSION = 0


def answer(store, request):
    if request.path == "/version":
        return Response(200, b"%d\n" % VERSION, b"text/plain")
    if request.path == "/status":
        gc.collect()
        return Response(200, json.dumps(floe.mem_info()).encode(), b"application/json")
    try:
        return Response(200, b"%d\n" % store.turn(), b"text/plain")
    except (OSError, ValueError) as e:
        return Response(500, repr(e).encode(), b"text/plain")
