# SPDX-License-Identifier: MIT
# CPython's datetime: dates, times and what lies between them, in the calendar of the Gregorian reform for all years.
# The local zone of a VM is UTC. A datetime counts microseconds of its own clock from the year 1; comparison, hash and
# difference go over them.

import time as _time
from collections import namedtuple

import _strftime

from ._delta import (
    _DAY,
    _SECOND,
    MAXYEAR,
    MINYEAR,
    _check_date,
    _date_of,
    _delta,
    _Ordered,
    _ordinal,
    _scaled,
    timedelta,
)
from ._iso import _check_clock, _clock_text, _date_end, _of_week, _parse_clock, _parse_date
from ._zone import UTC, _offset_text, timezone, tzinfo

_EPOCH = 719163  # the ordinal of 1970-01-01
_iso_date = namedtuple("datetime.IsoCalendarDate", ("year", "week", "weekday"))


class date(_Ordered):
    def __init__(self, year, month, day):
        self._set_date(year, month, day)

    def _set_date(self, year, month, day):
        self.year, self.month, self.day = _check_date(year, month, day)

    @classmethod
    def today(cls):
        return cls.fromtimestamp(_time.time())

    @classmethod
    def fromtimestamp(cls, t):
        return cls.fromordinal(_EPOCH + int(t // 86400))

    @classmethod
    def fromordinal(cls, n):
        return cls(*_date_of(n))

    @classmethod
    def fromisoformat(cls, text):
        return cls(*_parse_date(text, text))

    @classmethod
    def fromisocalendar(cls, year, week, day):
        return cls.fromordinal(_of_week(year, week, day))

    def replace(self, year=None, month=None, day=None):
        return type(self)(year or self.year, month or self.month, day or self.day)

    def toordinal(self):
        return _ordinal(self.year, self.month, self.day)

    def weekday(self):
        return (self.toordinal() + 6) % 7

    def isoweekday(self):
        return self.weekday() + 1

    def _week_and_year(self):
        return self.weekday(), self.toordinal() - _ordinal(self.year, 1, 1) + 1

    def isocalendar(self):
        year, week = _strftime.iso_week(self.year, *self._week_and_year())
        return _iso_date(year, week, self.isoweekday())

    def timetuple(self):
        return (self.year, self.month, self.day, 0, 0, 0) + self._week_and_year() + (-1,)

    def isoformat(self):
        return "%04d-%02d-%02d" % (self.year, self.month, self.day)

    def __str__(self):
        return self.isoformat()

    def __repr__(self):
        return "datetime.date(%d, %d, %d)" % (self.year, self.month, self.day)

    def ctime(self):
        return self.strftime("%a %b %e %H:%M:%S %Y")

    def strftime(self, format):
        return _strftime.strftime(format, self.timetuple())

    def __format__(self, format):
        return self.strftime(format) if format else str(self)

    def _pair(self, other, _):
        if not isinstance(other, date) or isinstance(other, datetime):
            return None
        return self.toordinal(), other.toordinal()

    def __hash__(self):
        return hash(self.toordinal())

    def __add__(self, other):
        if not isinstance(other, timedelta):
            return NotImplemented
        return type(self).fromordinal(self.toordinal() + other.days)

    __radd__ = __add__

    def __sub__(self, other):
        if isinstance(other, timedelta):
            return type(self).fromordinal(self.toordinal() - other.days)
        if isinstance(other, date) and not isinstance(other, datetime):
            return timedelta(self.toordinal() - other.toordinal())
        return NotImplemented


date.min = date(1, 1, 1)
date.max = date(9999, 12, 31)
date.resolution = timedelta(1)


class _Zoned(_Ordered):
    """What time and datetime share: a clock, _us since midnight, and a zone, which is asked about _asked()."""

    hour = property(lambda self: self._us // 3600000000)
    minute = property(lambda self: self._us // 60000000 % 60)
    second = property(lambda self: self._us // _SECOND % 60)
    microsecond = property(lambda self: self._us % _SECOND)

    def _ask(self, what):
        if self.tzinfo is None:
            return None
        got = getattr(self.tzinfo, what)(self._asked())
        if what != "tzname" and got is not None and not -_DAY < got._us < _DAY:
            raise ValueError("offset must be a timedelta strictly between -timedelta(hours=24) and timedelta(hours=24)")
        return got

    def utcoffset(self):
        return self._ask("utcoffset")

    def dst(self):
        return self._ask("dst")

    def tzname(self):
        return self._ask("tzname")

    def _zone_text(self):
        return _offset_text(self.utcoffset(), ""), self.tzname() or ""

    def _pair_of(self, mine, theirs, other, equal):
        """Both clocks, as of UTC where both know their offset."""
        a, b = self.utcoffset(), other.utcoffset()
        if (a is None) != (b is None):
            if equal:
                return None
            raise TypeError("can't compare offset-naive and offset-aware " + type(self).__name__ + "s")
        return (mine, theirs) if a is None else (mine - a._us, theirs - b._us)

    def _hash_of(self, mine):
        offset = self.utcoffset()
        return hash(mine if offset is None else mine - offset._us)

    def _repr_of(self, name, values):
        values = values + [self.hour, self.minute]
        if self._us % 60000000:
            values.append(self.second)
        if self.microsecond:
            values.append(self.microsecond)
        text = ", ".join(map(str, values))
        text += ", fold=1" if self.fold else ""
        return "datetime.%s(%s%s)" % (name, text, "" if self.tzinfo is None else ", tzinfo=%r" % self.tzinfo)

    def _changed(self, names, changed):
        for name in changed:
            if name not in names:
                raise TypeError("replace() got an unexpected keyword argument " + repr(name))
        return {name: changed.get(name, getattr(self, name)) for name in names}


class time(_Zoned):
    def __init__(self, hour=0, minute=0, second=0, microsecond=0, tzinfo=None, *, fold=0):
        self._us = _check_clock(hour, minute, second, microsecond, tzinfo)
        self.tzinfo = tzinfo
        self.fold = fold

    def _asked(self):
        return None

    @classmethod
    def fromisoformat(cls, text):
        micros, zone = _parse_clock(text.lstrip("Tt"), text)
        return _at(micros, zone)

    def replace(self, **changed):
        return type(self)(**self._changed(("hour", "minute", "second", "microsecond", "tzinfo", "fold"), changed))

    def isoformat(self, timespec="auto"):
        return _clock_text(self._us, timespec) + _offset_text(self.utcoffset())

    def __str__(self):
        return self.isoformat()

    def __repr__(self):
        return self._repr_of("time", [])

    def strftime(self, format):
        when = (1900, 1, 1, self.hour, self.minute, self.second, 0, 1)
        return _strftime.strftime(format, when, self.microsecond, self._zone_text())

    def _pair(self, other, equal):
        return self._pair_of(self._us, other._us, other, equal) if isinstance(other, time) else None

    def __hash__(self):
        return self._hash_of(self._us)


def _at(micros, zone):
    made = time(tzinfo=zone)
    made._us = micros
    return made


time.min = time()
time.max = time(23, 59, 59, 999999)
time.resolution = timedelta.resolution


class datetime(_Zoned, date):
    def __init__(self, year, month, day, hour=0, minute=0, second=0, microsecond=0, tzinfo=None, *, fold=0):
        self._set_date(year, month, day)
        self._us = _check_clock(hour, minute, second, microsecond, tzinfo)
        self.tzinfo = tzinfo
        self.fold = fold

    def _asked(self):
        return self

    def _micros(self):
        return self.toordinal() * _DAY + self._us

    @classmethod
    def _of(cls, micros, zone=None):
        days, us = divmod(micros, _DAY)
        made = cls(*_date_of(days), tzinfo=zone)
        made._us = us
        return made

    @classmethod
    def now(cls, tz=None):
        utc = _EPOCH * _DAY + _time.time_ns() // 1000
        return cls._of(utc) if tz is None else tz.fromutc(cls._of(utc, tz))

    @classmethod
    def utcnow(cls):
        return cls.now()

    @classmethod
    def today(cls):
        return cls.now()

    @classmethod
    def fromtimestamp(cls, timestamp, tz=None):
        whole, rest = _scaled(timestamp, _SECOND)
        utc = _EPOCH * _DAY + whole + round(rest)
        return cls._of(utc) if tz is None else tz.fromutc(cls._of(utc, tz))

    @classmethod
    def utcfromtimestamp(cls, timestamp):
        return cls.fromtimestamp(timestamp)

    @classmethod
    def fromordinal(cls, n):
        return cls._of(n * _DAY)

    @classmethod
    def combine(cls, date, time, tzinfo=True):
        return cls._of(date.toordinal() * _DAY + time._us, time.tzinfo if tzinfo is True else tzinfo)

    @classmethod
    def fromisoformat(cls, text):
        end = _date_end(text)
        ordinal = _ordinal(*_parse_date(text[:end], text))
        micros, zone = _parse_clock(text[end + 1 :], text) if len(text) > end + 1 else (0, None)
        if len(text) == end + 1:
            raise ValueError("Invalid isoformat string: %r" % (text,))
        return cls._of(ordinal * _DAY + micros, zone)

    @classmethod
    def strptime(cls, text, format):
        got = _strftime.strptime(text, format)
        zone = None
        if "z" in got:
            zone = timezone(_delta(got["z"]), got.get("Z")) if got["z"] or "Z" in got else timezone.utc
        return cls(*_strftime.fields(got), tzinfo=zone)

    def date(self):
        return date(self.year, self.month, self.day)

    def time(self):
        return _at(self._us, None)

    def timetz(self):
        return _at(self._us, self.tzinfo)

    def replace(self, **changed):
        names = ("year", "month", "day", "hour", "minute", "second", "microsecond", "tzinfo", "fold")
        return type(self)(**self._changed(names, changed))

    def timetuple(self):
        dst = self.dst()
        clock = (self.hour, self.minute, self.second)
        dst = (-1 if dst is None else int(bool(dst)),)
        return (self.year, self.month, self.day) + clock + self._week_and_year() + dst

    def utctimetuple(self):
        return ((self - (self.utcoffset() or timedelta())).timetuple())[:8] + (0,)

    def timestamp(self):
        offset = self.utcoffset()
        return _delta(self._micros() - _EPOCH * _DAY - (offset._us if offset is not None else 0)).total_seconds()

    def astimezone(self, tz=None):
        tz = tz or timezone.utc
        offset = self.utcoffset()
        return tz.fromutc(type(self)._of(self._micros() - (offset._us if offset is not None else 0), tz))

    def isoformat(self, sep="T", timespec="auto"):
        day = "%04d-%02d-%02d" % (self.year, self.month, self.day)
        return day + sep + _clock_text(self._us, timespec) + _offset_text(self.utcoffset())

    def __str__(self):
        return self.isoformat(" ")

    def __repr__(self):
        return self._repr_of("datetime", [self.year, self.month, self.day])

    def strftime(self, format):
        return _strftime.strftime(format, self.timetuple(), self.microsecond, self._zone_text())

    def _pair(self, other, equal):
        return self._pair_of(self._micros(), other._micros(), other, equal) if isinstance(other, datetime) else None

    def __hash__(self):
        return self._hash_of(self._micros())

    def __add__(self, other):
        if not isinstance(other, timedelta):
            return NotImplemented
        return type(self)._of(self._micros() + other._us, self.tzinfo)

    __radd__ = __add__

    def __sub__(self, other):
        if isinstance(other, timedelta):
            return type(self)._of(self._micros() - other._us, self.tzinfo)
        if not isinstance(other, datetime):
            return NotImplemented
        a, b = self.utcoffset(), other.utcoffset()
        if (a is None) != (b is None):
            raise TypeError("can't subtract offset-naive and offset-aware datetimes")
        return _delta(self._micros() - other._micros() - (0 if a is None else a._us - b._us))


datetime.min = datetime(1, 1, 1)
datetime.max = datetime(9999, 12, 31, 23, 59, 59, 999999)
datetime.resolution = timedelta.resolution
