# SPDX-License-Identifier: MIT
"""The access log: a line for each answer, as Apache's and nginx' "combined" format has it."""

import time

from message import MONTHS, Response


class AccessLog:
    """log: an appliance.Log, which drops and counts what the console does not take in time."""

    def __init__(self, log: object) -> None:
        self._log = log
        self._second = 0
        self._moment = ""

    def note(self, connection: object, head: object, answer: Response) -> None:
        now = time.time()
        if now != self._second:
            self._second = now
            at = time.gmtime(now)
            self._moment = "%02d/%s/%04d:%02d:%02d:%02d +0000" % (at[2], MONTHS[at[1] - 1], at[0], at[3], at[4], at[5])
        line, referer, agent = "-", "-", "-"
        size = len(answer.body)
        if head is not None:
            line = "%s %s HTTP/1.%d" % (head.method, _escaped(head.target), head.minor)
            referer = _escaped(head.fields.get(b"referer", b"-"))
            agent = _escaped(head.fields.get(b"user-agent", b"-"))
            size = answer.size(head.method)
        told = (connection.peer or "-", self._moment, line, answer.status, size or "-", referer, agent)
        self._log.line('%s - - [%s] "%s" %d %s "%s" "%s"' % told)


def _escaped(value: bytes) -> str:
    """As text of one line; what is no plain character, and quotes, as \\xHH."""
    if b'"' not in value and b"\\" not in value and (not value or (min(value) >= 0x20 and max(value) < 0x7F)):
        return str(value, "utf-8")
    return "".join([chr(char) if 0x20 <= char < 0x7F and char not in b'"\\' else "\\x%02x" % char for char in value])
