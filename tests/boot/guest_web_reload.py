# SPDX-License-Identifier: MIT
"""images/web with a disk, whose files requests to port 81 change: PUT a file, DELETE one."""

import os

import service
import vfs  # noqa: F401 - a disk is mounted where this is imported
from httpd import Limits, Server
from message import Response
from reload import Reloader


class Writing(Reloader):
    def start(self):
        super().start()
        limits = Limits()
        limits.body = 1000000
        Server(change, limits).start(81)


def change(request):
    if request.method == "PUT":
        with open(request.path, "wb") as file:
            file.write(request.body)
    else:
        os.remove(request.path)
    return Response(204)


service.run(80, None, Writing)
