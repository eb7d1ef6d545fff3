# SPDX-License-Identifier: MIT
"""Counters, gauges and histograms, and their text as Prometheus reads it (exposition format 0.0.4).

To count is to add to an attribute: a hot path may write `counter.value += 1`. Text is made when it is asked for.
"""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Counter:
    """A number that only grows; `value` is it."""

    kind = "counter"
    function = None  # asked for the value when it is wanted

    def __init__(self) -> None:
        self.value = 0

    def inc(self, by: float = 1) -> None:
        self.value += by

    def lines(self, name: str, labels: str) -> list:
        if self.function is not None:
            self.value = self.function()
        return ["%s%s %s" % (name, labels, _text(self.value))]


class Gauge(Counter):
    """A number that goes up and down, or what a function gives when it is asked."""

    kind = "gauge"

    def set(self, value: float) -> None:
        self.value = value

    def dec(self, by: float = 1) -> None:
        self.value -= by


class Histogram:
    """How many observations were at most so large, for each of its buckets."""

    kind = "histogram"

    def __init__(self, buckets: tuple) -> None:
        self.buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.sum += value
        low = 0
        high = len(self.buckets)
        while low < high:
            middle = (low + high) // 2
            if value <= self.buckets[middle]:
                high = middle
            else:
                low = middle + 1
        self.counts[low] += 1

    def lines(self, name: str, labels: str) -> list:
        more = labels[1:-1] + "," if labels else ""
        said = []
        total = 0
        for bound, count in zip(self.buckets + ("+Inf",), self.counts):
            total += count
            bound = bound if bound == "+Inf" else _text(bound)
            said.append('%s_bucket{%sle="%s"} %d' % (name, more, bound, total))
        said.append("%s_sum%s %s" % (name, labels, _text(self.sum)))
        said.append("%s_count%s %d" % (name, labels, total))
        return said


class Family:
    """A metric with labels: labels("GET", 200) is the one of these values, made at its first use."""

    def __init__(self, make: object, names: tuple) -> None:
        self._make = make
        self._names = names
        self.children: dict = {}

    def labels(self, *values: object) -> object:
        child = self.children.get(values)
        if child is None:
            if len(values) != len(self._names):
                raise ValueError("labels are: " + ", ".join(self._names))
            child = self.children[values] = self._make()
        return child

    def lines(self, name: str, _: str) -> list:
        if self.function is not None:
            self.children.clear()
            for values, value in self.function():
                self.labels(*values).value = value
        said = []
        for values in sorted(self.children, key=str):
            pairs = ['%s="%s"' % (label, _escaped(value)) for label, value in zip(self._names, values)]
            said += self.children[values].lines(name, "{%s}" % ",".join(pairs))
        return said


class Metrics:
    """All metrics of an appliance, by name."""

    def __init__(self) -> None:
        self._metrics: dict = {}  # name -> (kind, help, metric)

    def counter(self, name: str, help: str, labels: tuple = (), function: object = None) -> object:
        """function: called without arguments when the number is wanted; with labels, when all are: it gives pairs, the
        labels' values and the number."""
        return self._add(Counter, Counter, name, help, (labels, function))

    def gauge(self, name: str, help: str, labels: tuple = (), function: object = None) -> object:
        """function: as of a counter."""
        return self._add(Gauge, Gauge, name, help, (labels, function))

    def histogram(self, name: str, help: str, labels: tuple = (), buckets: tuple = _SECONDS) -> object:
        return self._add(Histogram, lambda: Histogram(buckets), name, help, (labels, None))

    def _add(self, kind: type, make: object, name: str, help: str, how: tuple) -> object:
        if name in self._metrics:
            raise ValueError("there is a metric " + name)
        metric = Family(make, tuple(how[0])) if how[0] else make()
        metric.function = how[1]
        self._metrics[name] = (kind.kind, help, metric)
        return metric

    def text(self) -> str:
        said = []
        for name in sorted(self._metrics):
            kind, help, metric = self._metrics[name]
            said.append("# HELP %s %s" % (name, help.replace("\\", "\\\\").replace("\n", "\\n")))
            said.append("# TYPE %s %s" % (name, kind))
            said += metric.lines(name, "")
        said.append("")
        return "\n".join(said)


def _text(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if value - value == 0:  # `math`, which says what a number is, would take 20 KB of an image
        return repr(value)
    return "+Inf" if value > 0 else "-Inf" if value < 0 else "NaN"


def _escaped(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
