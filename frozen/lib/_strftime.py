# SPDX-License-Identifier: MIT
# Dates as text and back, in the C locale: what datetime, logging and time share.

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
_SHORT = {
    "D": "%m/%d/%y", "F": "%Y-%m-%d", "R": "%H:%M", "T": "%H:%M:%S", "c": "%a %b %e %H:%M:%S %Y", "r": "%I:%M:%S %p",
    "x": "%m/%d/%y", "X": "%H:%M:%S", "h": "%b",
}  # fmt: skip


def iso_week(year, weekday, yearday):
    """(year, week) of ISO 8601; weekday from Monday = 0, yearday from 1."""
    week = (yearday - weekday + 9) // 7
    if week < 1:
        year -= 1
        return year, weeks(year)
    return (year + 1, 1) if week > weeks(year) else (year, week)


def _leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _first_weekday(year):
    last = year - 1
    return (365 * last + last // 4 - last // 100 + last // 400) % 7


def weeks(year):
    """52, or 53 for a year that begins on a Thursday, or on a Wednesday if it is a leap year."""
    first = _first_weekday(year)
    return 53 if first == 3 or (first == 2 and _leap(year)) else 52


def strftime(format, when, micro=0, zone=("", "")):  # noqa: PLR0912 -- a directive a branch
    """when: year, month, day, hour, minute, second, weekday from Monday = 0, yearday from 1. zone: for %z, %Z."""
    year, month, day, hour, _, _, weekday, yearday = when[:8]
    out = []
    pieces = iter(format)
    for c in pieces:
        if c != "%":
            out.append(c)
            continue
        c = next(pieces, "")
        pad = True
        if c == "-":
            pad = False
            c = next(pieces, "")
        n = None
        width = 2
        if c in _SHORT and c:
            out.append(strftime(_SHORT[c], when))
        elif c == "Y":
            out.append(str(year))
        elif c == "f":
            out.append("%06d" % micro)
        elif c == "p":
            out.append("AM" if hour < 12 else "PM")
        elif c and c in "aA":
            out.append(DAYS[weekday] if c == "A" else DAYS[weekday][:3])
        elif c and c in "bB":
            out.append(MONTHS[month - 1] if c == "B" else MONTHS[month - 1][:3])
        elif c and c in "zZ":
            out.append(zone[c == "Z"])
        elif c and c in "nt%":
            out.append({"n": "\n", "t": "\t", "%": "%"}[c])
        elif c and c in "uw":
            out.append(str(weekday + 1 if c == "u" else (weekday + 1) % 7))
        elif c == "e":
            out.append("%2d" % day)
        elif c == "j":
            n, width = yearday, 3
        elif c == "G":
            out.append("%04d" % iso_week(year, weekday, yearday)[0])
        else:
            n = _number(c, when)
            if n is None:
                out.append("%" + c)
        if n is not None:
            out.append("%0*d" % (width, n) if pad else str(n))
    return "".join(out)


def _number(c, when):
    """Of two digits. None: no such directive."""
    year, month, day, hour, minute, second, weekday, yearday = when[:8]
    if c == "U":
        return (yearday + 6 - (weekday + 1) % 7) // 7
    if c == "W":
        return (yearday + 6 - weekday) // 7
    if c == "V":
        return iso_week(year, weekday, yearday)[1]
    at = "CydmHIMSg".find(c) if c else -1
    if at < 0:
        return None
    if c == "g":
        return iso_week(year, weekday, yearday)[0] % 100
    return (year // 100, year % 100, day, month, hour, (hour + 11) % 12 + 1, minute, second)[at]


def _take_number(text, at, most, name):
    end = at
    while end < len(text) and end - at < most and text[end].isdigit():
        end += 1
    if end == at:
        raise ValueError("time data %r does not match format: no number for %%%s" % (text, name))
    return int(text[at:end]), end


def _take_name(text, at, names):
    rest = text[at:].lower()
    best = None
    for i, name in enumerate(names):
        if rest.startswith(name.lower()) and (best is None or len(name) > len(names[best])):
            best = i
    if best is None:
        raise ValueError("time data %r does not match format: no name at %r" % (text, text[at:]))
    return best, at + len(names[best])


def _take_offset(text, at):
    """+HHMM, +HH:MM, either with seconds and their parts, or Z: microseconds east of UTC."""
    rest = text[at:]
    if rest[:1] in ("Z", "z"):
        return 0, at + 1
    if rest[:1] not in ("+", "-"):
        raise ValueError("time data %r does not match format: no offset for %%z" % (text,))
    end = at + 1
    parts = []
    colon = False
    while len(parts) < 3 and text[end : end + 2].isdigit() and len(text[end : end + 2]) == 2:
        parts.append(int(text[end : end + 2]))
        end += 2
        more = text[end : end + 1] == ":"
        if len(parts) == 1:
            colon = more
        if more and colon and text[end + 1 : end + 3].isdigit():
            end += 1
        elif colon:
            break
    if len(parts) < 2 or parts[1] > 59:
        raise ValueError("time data %r does not match format: no offset for %%z" % (text,))
    hours, minutes, seconds = (parts + [0])[:3]
    micro = 0
    if len(parts) == 3 and text[end : end + 1] == ".":
        start = end + 1
        micro, end = _take_number(text, start, 6, "z")
        micro *= 10 ** (6 - (end - start))
    total = ((hours * 60 + minutes) * 60 + seconds) * 1000000 + micro
    return (-total if rest[0] == "-" else total), end


_WIDTHS = {"Y": 4, "m": 2, "d": 2, "H": 2, "I": 2, "M": 2, "S": 2, "y": 2, "j": 3, "w": 1, "u": 1, "U": 2, "W": 2}
_RANGES = {
    "m": (1, 12), "d": (1, 31), "H": (0, 23), "I": (1, 12), "M": (0, 59), "S": (0, 61), "j": (1, 366),
    "U": (0, 53), "W": (0, 53), "w": (0, 6), "u": (1, 7),
}  # fmt: skip


def strptime(text, format):
    """{directive: number}; names as numbers (b: 1..12, a: from Monday = 0), z in microseconds. Raises ValueError."""
    got = {}
    for c in "DFRTcrxXh":
        format = format.replace("%" + c, _SHORT[c].replace("%e", "%d"))
    at = 0
    pieces = iter(format)
    for c in pieces:
        if c.isspace():
            while at < len(text) and text[at].isspace():
                at += 1
            continue
        if c != "%" or (c := next(pieces, "")) == "%":
            if text[at : at + 1] != c:
                raise ValueError("time data %r does not match format %r" % (text, format))
            at += 1
            continue
        at = _directive(text, at, c, got)
    if at != len(text):
        raise ValueError("unconverted data remains: " + text[at:])
    return got


def _directive(text, at, c, got):
    if c in _WIDTHS:
        got[c], end = _take_number(text, at, _WIDTHS[c], c)
        low, high = _RANGES.get(c, (0, 9999))
        if (c == "Y" and end - at != 4) or not low <= got[c] <= high:
            raise ValueError("time data %r does not match format: %%%s" % (text, c))
        return end
    if c == "f":
        number, end = _take_number(text, at, 6, c)
        got["f"] = number * 10 ** (6 - (end - at))
    elif c in ("b", "B"):
        month, end = _take_name(text, at, MONTHS if c == "B" else [m[:3] for m in MONTHS])
        got["m"] = month + 1
    elif c in ("a", "A"):
        got["a"], end = _take_name(text, at, DAYS if c == "A" else [d[:3] for d in DAYS])
    elif c == "p":
        got["p"], end = _take_name(text, at, ("AM", "PM"))
    elif c == "z":
        got["z"], end = _take_offset(text, at)
    elif c == "Z":
        zone, end = _take_name(text, at, ("UTC", "GMT"))
        got["Z"] = ("UTC", "GMT")[zone]
    else:
        raise ValueError("'%s' is a bad directive in format" % c)
    return end


def _yearday(got, year):
    """Of a week and a day of it; None where one of them was not given. 0 and less are days of the year before."""
    weekday = got.get("a", got["u"] - 1 if "u" in got else (got["w"] + 6) % 7 if "w" in got else None)
    for c, shift in (("W", 0), ("U", 1)):
        if c in got and weekday is not None:
            first = (_first_weekday(year) + shift) % 7
            week = got[c] - (first == 0 and got[c] > 0)
            return 1 + 7 * week - first + (weekday + shift) % 7
    return None


def fields(got):
    """year, month, day, hour, minute, second, microsecond of what strptime found."""
    year = got.get("Y", 1900)
    if "y" in got:
        year = got["y"] + (1900 if got["y"] >= 69 else 2000)
    hour = got.get("H", 0)
    if "I" in got:
        hour = got["I"] % 12 + (12 if got.get("p") else 0)
    month, day = got.get("m", 1), got.get("d", 1)
    yearday = got.get("j", _yearday(got, year))
    if yearday is not None:
        month, day = 1, yearday
        if day < 1:
            year -= 1
            day += 365 + _leap(year)
        for length in (31, 29 if _leap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30):
            if day <= length:
                break
            day -= length
            month += 1
        if day > 31:
            year, month, day = year + 1, 1, day - 31
    return year, month, day, hour, got.get("M", 0), got.get("S", 0), got.get("f", 0)
