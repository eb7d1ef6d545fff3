# SPDX-License-Identifier: MIT
"""The time of an NTP server: `host`, `timeout`, time() and settime() as in micropython-lib's ntptime, and `port`.

A client as RFC 4330 (SNTP) and RFC 5905, appendix A.5.1 describe it. What is sent as the time of sending is random
instead: a reply must give it back, so that nobody who does not see our packets can answer them. OSError when no
address of the host answers within `timeout` seconds each; NTPError when one answers and cannot be used."""

import errno
import os
import select
import socket
import struct
import time as _time

host = "pool.ntp.org"
port = 123
timeout = 1

_CLIENT = 0x23  # no warning, version 4, mode client
_SERVER = 4
_EPOCH = 2208988800  # 1970 in seconds since 1900
_ERA = 1 << 32
_S = 1000000000


class NTPError(OSError):
    """A server's answer that cannot be used; its text says why."""


def _ns(stamp):
    """An NTP timestamp (seconds and 1/2^32 seconds since 1900, or since 2036) in nanoseconds since 1970."""
    seconds = stamp >> 32
    if seconds < 1 << 31:
        seconds += _ERA
    return (seconds - _EPOCH) * _S + ((stamp & 0xFFFFFFFF) * _S >> 32)


def _check(reply):
    """Received and sent, the two times of the server's in a reply to us; NTPError where it has none to give."""
    first, stratum, _, _, delay, dispersion, reference = struct.unpack(">BBbbII4s", reply)
    received, sent = struct.unpack_from(">QQ", reply, 32)
    if first & 7 != _SERVER or first >> 3 & 7 not in (3, 4):
        raise NTPError("not a server's answer")
    if stratum == 0:
        raise NTPError("refused: " + "".join(chr(c) if 32 < c < 127 else "?" for c in reference))
    if first >> 6 == 3 or stratum > 15 or not received or not sent:
        raise NTPError("the server has no time itself")
    if delay / 2 + dispersion > 16 << 16:  # 1/2^16 seconds; MAXDISP of RFC 5905
        raise NTPError("the server's time is vague")
    return _ns(received), _ns(sent)


def _ask(s):
    """How much the server's clock is ahead of ours, in nanoseconds, by a connected socket; None if it is silent."""
    nonce = os.urandom(8)
    query = struct.pack(">B39x", _CLIENT) + nonce
    wall, start = _time.time_ns(), _time.ticks_us()
    end = _time.ticks_add(_time.ticks_ms(), int(timeout * 1000))
    s.send(query)
    poll = select.poll()
    poll.register(s, select.POLLIN)
    while True:
        left = _time.ticks_diff(end, _time.ticks_ms())
        if left <= 0 or not poll.poll(left):
            return None
        reply = s.recv(128)
        took = _time.ticks_diff(_time.ticks_us(), start) * 1000
        if len(reply) >= 48 and reply[24:32] == nonce:
            break
    received, sent = _check(reply)
    if sent < received or sent - received > took:
        raise NTPError("the server answered before it was asked")
    return (received - wall + sent - (wall + took)) // 2


def _offset():
    problem = OSError(errno.ETIMEDOUT)
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM):
        s = socket.socket(family, kind, protocol)
        try:
            s.connect(address)
            s.setblocking(False)
            offset = _ask(s)
            if offset is not None:
                return offset
        except OSError as e:
            problem = e
        finally:
            s.close()
    raise problem


def time():
    """Seconds since the epoch, by the server."""
    return (_time.time_ns() + _offset()) // _S


def settime():
    """Set machine.RTC by the server, to the microsecond; what time.time() and TLS go by."""
    import machine

    offset = _offset()
    now = _time.time_ns() + offset
    year, month, day, hour, minute, second, weekday, _ = _time.gmtime(now // _S)
    machine.RTC().datetime((year, month, day, weekday, hour, minute, second, now % _S // 1000))
