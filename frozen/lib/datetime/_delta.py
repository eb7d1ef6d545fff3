# SPDX-License-Identifier: MIT
# timedelta, and the arithmetic of the calendar below it.

MINYEAR = 1
MAXYEAR = 9999

_SECOND = 1000000
_DAY = 86400 * _SECOND
_EXACT = 1 << 53  # up to here floats hold every whole number
_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)  # days before a month


def _leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_in(year, month):
    return 28 + _leap(year) if month == 2 else 31 - (month in (4, 6, 9, 11))


def _ordinal(year, month, day):
    """Days since 0000-12-31."""
    last = year - 1
    return 365 * last + last // 4 - last // 100 + last // 400 + _BEFORE[month - 1] + (month > 2 and _leap(year)) + day


def _date_of(ordinal):
    if not 1 <= ordinal <= 3652059:
        raise OverflowError("date value out of range")
    n = ordinal - 1
    n400, n = divmod(n, 146097)
    n100 = min(n // 36524, 3)
    n -= n100 * 36524
    n4, n = divmod(n, 1461)
    n1 = min(n // 365, 3)
    n -= n1 * 365
    year = n400 * 400 + n100 * 100 + n4 * 4 + n1 + 1
    month = n // 31 + 1
    while n >= _days_in(year, month) + _BEFORE[month - 1] + (month > 2 and _leap(year)):
        month += 1
    return year, month, n - _BEFORE[month - 1] - (month > 2 and _leap(year)) + 1


def _whole(value):
    if isinstance(value, float):
        raise TypeError("'float' object cannot be interpreted as an integer")
    return int(value)


def _within(name, low, value, high):
    if not low <= _whole(value) <= high:
        raise ValueError(
            "year %d is out of range" % value if name == "year" else "%s must be in %d..%d" % (name, low, high)
        )
    return value


def _check_date(year, month, day):
    _within("year", MINYEAR, year, MAXYEAR)
    _within("month", 1, month, 12)
    if not 1 <= _whole(day) <= _days_in(year, month):
        raise ValueError("day is out of range for month")
    return year, month, day


def _even(n, d):
    """n / d, rounded half to even, for whole numbers."""
    if d < 0:
        n, d = -n, -d
    q, r = divmod(n, d)
    return q + (2 * r > d or (2 * r == d and q & 1))


def _ratio(n, d):
    """n / d as the nearest float, for whole numbers of more bits than a float has, too."""
    if not d or (-_EXACT <= n <= _EXACT and -_EXACT <= d <= _EXACT):
        return n / d
    negative = (n < 0) != (d < 0)
    n, d = abs(n), abs(d)
    scale = 1
    while n < d << 56:
        n <<= 4
        scale <<= 4
    while n >= d << 61:
        d <<= 4
        scale /= 16
    q, r = divmod(n, d)  # a small int, of more bits than a float has; its last one stands for the rest
    q = (q | (r != 0)) / scale
    return -q if negative else q


def _scaled(value, micros):
    """value * micros as whole microseconds and a rest below one."""
    if isinstance(value, float):
        whole = int(value)
        rest = (value - whole) * micros
        return whole * micros + int(rest), rest - int(rest)
    return value * micros, 0.0


class _Ordered:
    """Comparison by _key(other): a pair to compare, or None for what has no order with this."""

    def __eq__(self, other):
        pair = self._pair(other, True)
        return False if pair is None else pair[0] == pair[1]

    def _compared(self, other):
        pair = self._pair(other, False)
        if pair is None:
            raise TypeError("can't compare %s to %s" % (type(self).__name__, type(other).__name__))
        return (pair[0] > pair[1]) - (pair[0] < pair[1])

    def __lt__(self, other):
        return self._compared(other) < 0

    def __le__(self, other):
        return self._compared(other) <= 0

    def __gt__(self, other):
        return self._compared(other) > 0

    def __ge__(self, other):
        return self._compared(other) >= 0


class timedelta(_Ordered):
    def __init__(self, days=0, seconds=0, microseconds=0, milliseconds=0, minutes=0, hours=0, weeks=0):
        total = 0
        rest = 0.0
        for value, micros in (
            (days, _DAY), (seconds, _SECOND), (microseconds, 1), (milliseconds, 1000), (minutes, 60 * _SECOND),
            (hours, 3600 * _SECOND), (weeks, 7 * _DAY),
        ):  # fmt: skip
            part, more = _scaled(value, micros)
            total += part
            rest += more
        odd = total & 1  # half to even, of the whole
        self._set(total - odd + round(rest + odd))

    def _set(self, micros):
        if not -999999999 * _DAY <= micros < 1000000000 * _DAY:
            raise OverflowError("days=%d; must have magnitude <= 999999999" % (micros // _DAY))
        self._us = micros
        return self

    @property
    def days(self):
        return self._us // _DAY

    @property
    def seconds(self):
        return self._us // _SECOND % 86400

    @property
    def microseconds(self):
        return self._us % _SECOND

    def total_seconds(self):
        return _ratio(self._us, _SECOND)

    def _pair(self, other, _):
        return (self._us, other._us) if isinstance(other, timedelta) else None

    def __hash__(self):
        return hash(self._us)

    def __bool__(self):
        return self._us != 0

    def __add__(self, other):
        return _delta(self._us + other._us) if isinstance(other, timedelta) else NotImplemented

    def __sub__(self, other):
        return _delta(self._us - other._us) if isinstance(other, timedelta) else NotImplemented

    def __neg__(self):
        return _delta(-self._us)

    def __pos__(self):
        return self

    def __abs__(self):
        return _delta(abs(self._us))

    def __mul__(self, other):
        if isinstance(other, float):
            return _delta(round(self._us * other))
        return _delta(self._us * other) if isinstance(other, int) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other):
        if isinstance(other, timedelta):
            return _ratio(self._us, other._us)
        n = self._us
        if isinstance(other, float):
            while other != int(other):
                n, other = 2 * n, 2 * other
            other = int(other)
        return _delta(_even(n, other)) if isinstance(other, int) else NotImplemented

    def __floordiv__(self, other):
        if isinstance(other, timedelta):
            return self._us // other._us
        return _delta(self._us // other) if isinstance(other, int) else NotImplemented

    def __mod__(self, other):
        return _delta(self._us % other._us) if isinstance(other, timedelta) else NotImplemented

    def __divmod__(self, other):
        return self // other, self % other

    def __repr__(self):
        parts = [(n, v) for n in ("days", "seconds", "microseconds") if (v := getattr(self, n))]
        return "datetime.timedelta(%s)" % (", ".join("%s=%d" % p for p in parts) or "0")

    def __str__(self):
        text = "%d:%02d:%02d" % (self.seconds // 3600, self.seconds // 60 % 60, self.seconds % 60)
        if self.days:
            text = "%d day%s, %s" % (self.days, "" if abs(self.days) == 1 else "s", text)
        return text + (".%06d" % self.microseconds if self.microseconds else "")


def _delta(micros):
    return timedelta()._set(micros)


timedelta.min = timedelta(-999999999)
timedelta.max = _delta(1000000000 * _DAY - 1)
timedelta.resolution = timedelta(microseconds=1)
