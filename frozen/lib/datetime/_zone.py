# SPDX-License-Identifier: MIT
# tzinfo and timezone.

from ._delta import _DAY, _SECOND, timedelta


def _offset_text(offset, colon=":"):
    if offset is None:
        return ""
    us = offset._us
    sign = "-" if us < 0 else "+"
    s, us = divmod(abs(us), _SECOND)
    text = "%s%02d%s%02d" % (sign, s // 3600, colon, s // 60 % 60)
    if s % 60 or us:
        text += "%s%02d" % (colon, s % 60)
    return text + (".%06d" % us if us else "")


class tzinfo:
    """To be subclassed."""

    def utcoffset(self, dt):
        raise NotImplementedError("a tzinfo subclass must implement utcoffset()")

    def dst(self, dt):
        raise NotImplementedError("a tzinfo subclass must implement dst()")

    def tzname(self, dt):
        raise NotImplementedError("a tzinfo subclass must implement tzname()")

    def fromutc(self, dt):
        offset, dst = dt.utcoffset(), dt.dst()
        if offset is None or dst is None:
            raise ValueError("fromutc() requires a non-None utcoffset() and dst() result")
        shifted = dt + (offset - dst)
        return shifted + (shifted.dst() or timedelta())


class timezone(tzinfo):
    def __init__(self, offset, name=None):
        if not isinstance(offset, timedelta):
            raise TypeError("offset must be a timedelta")
        if not -_DAY < offset._us < _DAY:
            raise ValueError("offset must be a timedelta strictly between -timedelta(hours=24) and timedelta(hours=24)")
        self._offset = offset
        self._name = name

    def utcoffset(self, dt):
        return self._offset

    def dst(self, dt):
        return None

    def tzname(self, dt):
        if self._name is not None:
            return self._name
        return "UTC" + _offset_text(self._offset) if self._offset else "UTC"

    def fromutc(self, dt):
        return dt + self._offset

    def __eq__(self, other):
        return isinstance(other, timezone) and self._offset == other._offset

    def __hash__(self):
        return hash(self._offset)

    def __repr__(self):
        if self is timezone.utc:
            return "datetime.timezone.utc"
        name = "" if self._name is None else ", %r" % self._name
        return "datetime.timezone(%r%s)" % (self._offset, name)

    def __str__(self):
        return self.tzname(None)


timezone.utc = UTC = timezone(timedelta())
timezone.min = timezone(timedelta(minutes=-1439))
timezone.max = timezone(timedelta(minutes=1439))
