# SPDX-License-Identifier: MIT
# Dates and clocks as ISO 8601 writes them, as far as CPython reads them.

import _strftime

from ._delta import _SECOND, MAXYEAR, MINYEAR, _check_date, _date_of, _delta, _ordinal, _within
from ._zone import timezone, tzinfo


def _of_week(year, week, day):
    """The ordinal of a day of an ISO week."""
    _within("year", MINYEAR, year, MAXYEAR)
    if not 1 <= week <= _strftime.weeks(year):
        raise ValueError("Invalid week: %d" % week)
    if not 1 <= day <= 7:
        raise ValueError("Invalid weekday: %d (range is [1, 7])" % day)
    fourth = _ordinal(year, 1, 4)
    return fourth - (fourth + 6) % 7 + 7 * (week - 1) + day - 1


def _clock_text(micros, timespec):
    """HH[:MM[:SS[.mmm[uuu]]]] of microseconds since midnight."""
    seconds, us = divmod(micros, _SECOND)
    if timespec == "auto":
        timespec = "microseconds" if us else "seconds"
    parts = ("hours", "minutes", "seconds", "milliseconds", "microseconds")
    if timespec not in parts:
        raise ValueError("Unknown timespec value")
    n = parts.index(timespec)
    text = ":".join("%02d" % v for v in (seconds // 3600, seconds // 60 % 60, seconds % 60)[: min(n, 2) + 1])
    return text + (".%03d" % (us // 1000) if n == 3 else ".%06d" % us if n == 4 else "")


def _check_clock(hour, minute, second, microsecond, zone):
    _within("hour", 0, hour, 23)
    _within("minute", 0, minute, 59)
    _within("second", 0, second, 59)
    _within("microsecond", 0, microsecond, 999999)
    if zone is not None and not isinstance(zone, tzinfo):
        raise TypeError("tzinfo argument must be None or of a tzinfo subclass")
    return ((hour * 60 + minute) * 60 + second) * _SECOND + microsecond


def _numbers(text, whole, *widths):
    """Numbers of so many digits, one behind the other."""
    if len(text) != sum(widths) or not text.isdigit():
        raise ValueError("Invalid isoformat string: %r" % (whole,))
    out = []
    for width in widths:
        out.append(int(text[:width]))
        text = text[width:]
    return out


def _date_end(text):
    """Where the date ends in YYYY-MM-DD, YYYYMMDD, YYYY-Www[-D], YYYYWww[D], each perhaps with a time behind it."""
    dashed = text[4:5] == "-"
    if text[4 + dashed : 5 + dashed] != "W":
        return 10 if dashed else 8
    if dashed:
        return 10 if text[8:9] == "-" else 8
    return 8 if text[7:8].isdigit() else 7


def _parse_date(text, whole):
    dashed = text[4:5] == "-"
    plain = text.replace("-", "")
    if dashed != (text[7:8] == "-" or text[8:9] == "-") and not (dashed and len(text) == 8):
        raise ValueError("Invalid isoformat string: %r" % (whole,))
    if plain[4:5] == "W":
        year, week, day = _numbers(plain[:4] + plain[5:] + ("1" if len(plain) == 7 else ""), whole, 4, 2, 1)
        return _date_of(_of_week(year, week, day))
    if dashed and (len(text) != 10 or text[7] != "-"):
        raise ValueError("Invalid isoformat string: %r" % (whole,))
    return _check_date(*_numbers(plain, whole, 4, 2, 2))


def _parse_micros(text, whole):
    """HH, HH:MM, HH:MM:SS with parts of a second; with or without colons."""
    clock, point, parts = text.replace(",", ".").partition(".")
    pieces = clock.split(":") if ":" in clock else [clock[i : i + 2] for i in range(0, len(clock), 2)]
    if not 1 <= len(pieces) <= 3 or (point and (len(pieces) < 3 or not parts)):
        raise ValueError("Invalid isoformat string: %r" % (whole,))
    hour, minute, second = (_numbers("".join(pieces), whole, *[2] * len(pieces)) + [0, 0])[:3]
    if point and not parts.isdigit():
        raise ValueError("Invalid isoformat string: %r" % (whole,))
    return _check_clock(hour, minute, second, int((parts + "000000")[:6]), None)


def _parse_clock(text, whole):
    """(microseconds since midnight, zone or None)."""
    zone = None
    for i, c in enumerate(text):
        if c in "+-Zz":
            if c in "Zz":
                if text[i + 1 :]:
                    raise ValueError("Invalid isoformat string: %r" % (whole,))
                offset = 0
            else:
                offset = _parse_micros(text[i + 1 :], whole)
            zone = timezone(_delta(-offset if c == "-" else offset)) if offset else timezone.utc
            text = text[:i]
            break
    return _parse_micros(text, whole), zone
