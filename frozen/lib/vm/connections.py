# SPDX-License-Identifier: MIT
# vm.handoff(): connections that go on in a child.

import _handoff

import vm

_marked = []


def handoff(connection):
    """Have a connection go on in the VM that is forked next: a connected socket, with TLS or without, or a stream of
    asyncio's. There the same object goes on; here it is closed from that fork on. A fork that fails leaves it here, and
    the mark is gone."""
    sock = getattr(connection, "s", connection)  # asyncio.Stream
    sock = getattr(sock, "_sock", sock)  # ssl.SSLSocket
    _handoff.check(sock)
    if sock not in _marked:
        _marked.append(sock)


def _fork(place):
    marked = tuple(_marked)
    _marked.clear()
    return _handoff.fork(place, marked)


vm._fork = _fork
vm._forget = _marked.clear
