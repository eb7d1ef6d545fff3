# SPDX-License-Identifier: MIT
"""What was measured in each interval and in all, as lines and in iperf3's JSON form."""

import asyncio
import time


def megabits(size: int, seconds: float) -> float:
    return size * 8 / seconds / 1e6 if seconds > 0 else 0.0


def _figures(start: float, end: float, size: int) -> dict:
    seconds = end - start
    rate = size * 8 / seconds if seconds > 0 else 0.0
    return {"start": start, "end": end, "seconds": seconds, "bytes": size, "bits_per_second": rate}


class Report:
    """Looks at flows every so many seconds; 0: only at the end."""

    def __init__(self, flows: list, interval: float, say: object) -> None:
        self.flows = flows
        self.intervals: list = []  # iperf3's "intervals"
        self.seconds = 0.0
        self.lines: list = []
        self._interval = interval
        self._say = say  # say(line)
        self._began = time.ticks_us()
        self._last = 0.0
        self._counted = [0] * len(flows)
        self._task = None

    def start(self) -> None:
        self._began = time.ticks_us()
        if self._interval:
            self._task = asyncio.create_task(self._look())

    def elapsed(self) -> float:
        return time.ticks_diff(time.ticks_us(), self._began) / 1e6

    def forget(self) -> None:
        """The time to omit is over."""
        for flow in self.flows:
            flow.forget()
        self._counted = [0] * len(self.flows)
        self._began = time.ticks_us()
        self._last = 0.0

    def finish(self) -> None:
        """The flows have stopped."""
        if self._task is not None:
            self._task.cancel()
        self.seconds = self.elapsed()
        if self._interval and (self.seconds - self._last > self._interval / 10 or not self.intervals):
            self._take(self.seconds)

    async def _look(self) -> None:
        while True:
            left = self._interval - (self.elapsed() - self._last)
            await asyncio.sleep_ms(max(1, int(left * 1000)))
            now = self.elapsed()
            if now - self._last >= self._interval:
                self._take(now)

    def _take(self, now: float) -> None:
        streams = []
        for index, flow in enumerate(self.flows):
            each = _figures(self._last, now, flow.bytes - self._counted[index])
            self._counted[index] = flow.bytes
            streams.append(dict(each, socket=flow.number, omitted=False, sender=flow.sending))
        total = _figures(self._last, now, sum([each["bytes"] for each in streams]))
        self._last = now
        self.intervals.append({"streams": streams, "sum": dict(total, omitted=False)})
        if len(self.intervals) > 3600:
            del self.intervals[0]
        self._line(total, "")

    def _line(self, figures: dict, more: str) -> None:
        said = "%.2f-%.2f s  %d bytes  %.1f Mbit/s%s" % (
            figures["start"],
            figures["end"],
            figures["bytes"],
            figures["bits_per_second"] / 1e6,
            more,
        )
        self.lines.append(said)
        self._say(said)

    def total(self, sending: bool) -> dict:
        size = sum([flow.bytes for flow in self.flows if flow.sending == sending])
        return dict(_figures(0.0, self.seconds, size), sender=sending)
