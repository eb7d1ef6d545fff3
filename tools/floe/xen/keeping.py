# SPDX-License-Identifier: MIT
"""Process that keeps the state of a Xen domain in a file; to its owner it is a hypervisor in which nothing ever runs.
Started with the options of xen_driver.py: the file, and a socket for events. It is told by copying.py's lines at which
descriptor it will hear of which domain, has xl write that one's state, and waits for its own end."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterator

from floe.errors import FloeError, VmError
from floe.xen import events, places, scripts
from floe.xen.arrival import Arrival

_CHUNK = 1 << 16
_PAGE = 4096
_ZEROS = bytes(_PAGE)
_TAIL = 4096  # bytes of the stream in which its end is looked for
_VERSION_MAX = 64  # bytes


class _Gone(Exception):
    """The owner has ended."""


def _asked(sock: socket.socket) -> Iterator[dict[str, object]]:
    """What the owner says. Raises _Gone at its end."""
    rest = b""
    while True:
        *lines, rest = rest.split(b"\n")
        for line in lines:
            yield json.loads(line)
        if not (data := sock.recv(_CHUNK)):
            raise _Gone
        rest += data


def keep(stream: socket.socket, file: int) -> tuple[str, int]:
    """Write the state that comes there to a file, with holes for zeros; returns Xen's version and the state's bytes.
    Raises VmError, OSError."""
    head = b""
    while b"\n" not in head:
        if not (data := stream.recv(_CHUNK)) or len(head) > _VERSION_MAX:
            raise VmError("dom0 does not tell the version of Xen")
        head += data
    version, _, rest = head.partition(b"\n")
    size, held = 0, bytearray(rest)
    os.ftruncate(file, 0)
    while data := stream.recv(_CHUNK):
        held += data
        whole = max(0, len(held) - _TAIL) // _PAGE * _PAGE
        size += _put(file, bytes(held[:whole]), size)
        del held[:whole]
    state, found, said = bytes(held).rpartition(scripts.SAVED)
    status, _, words = said.decode(errors="replace").partition("\n")
    if not found:
        raise VmError("the connection to dom0 has ended while the state was written")
    if status != "0":
        raise VmError(f"xl did not save the domain: {' '.join(words.split()) or status}", hint="xl dmesg")
    size += _put(file, state, size)
    os.ftruncate(file, size)
    return version.decode(errors="replace"), size


def _put(file: int, data: bytes, at: int) -> int:
    """Write what is not zero."""
    for page in range(0, len(data), _PAGE):
        piece = data[page : page + _PAGE]
        done = len(piece) if piece == _ZEROS[: len(piece)] else 0
        while done < len(piece):
            done += os.pwrite(file, piece[done:], at + page + done)
    return len(data)


def main() -> int:
    """Keep one state."""
    parser = argparse.ArgumentParser(prog="floe.xen.keeping")
    parser.add_argument("--place", required=True)
    parser.add_argument("--state", type=int, required=True, help="descriptor of the file")
    parser.add_argument("--events", type=int, required=True)
    options = parser.parse_args()
    arrival = Arrival()
    with socket.socket(fileno=options.events) as owner:
        owner.setblocking(True)
        try:
            asked = _asked(owner)
            arrival.expect(int(str(next(asked)["fd"])))
            owner.sendall(events.encode("EXPECTS"))
            number = arrival.wait()
            with places.by_name(options.place).connect(scripts.keep(number)) as stream:
                stream.setblocking(True)
                version, size = keep(stream, options.state)
            arrival.answer()
            owner.sendall(events.encode("KEPT", size=size, version=version))
            next(asked)
        except (_Gone, BrokenPipeError):
            return 0
        except (FloeError, OSError, ValueError) as e:
            message = e.message if isinstance(e, FloeError) else f"the process that keeps the state failed: {e}"
            arrival.answer(message)
            owner.sendall(events.encode("FAILED", message=message, evidence="", hint=""))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
