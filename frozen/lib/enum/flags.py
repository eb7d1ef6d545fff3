# SPDX-License-Identifier: MIT
"""Enumerations whose values are bits, which may be combined."""

from . import Enum


def _bits(value):
    """The single bits of a number, the lowest first."""
    while value:
        yield value & -value
        value &= value - 1


class Flag(Enum):
    @staticmethod
    def _generate_next_value_(name, start, count, last_values):
        if not last_values:
            return start
        highest = 1
        while highest <= max(last_values):
            highest <<= 1
        return highest

    @staticmethod
    def _is_listed(value):
        return value > 0 and not value & (value - 1)

    @classmethod
    def _known(cls):
        known = 0
        for member in cls._enum_._members:
            known |= member._value_
        return known

    @classmethod
    def _outside(cls, value):
        """What a value with bits that no member has is."""
        raise ValueError("{!r} has invalid value {!r}".format(cls._enum_, value))

    @classmethod
    def _missing_(cls, value):
        """A combination, kept so that equal ones are the same object."""
        if not isinstance(value, int):
            return None
        known = cls._known()
        if value < 0:
            value &= known
        elif value & ~known:
            cls._outside(value)
        enumeration = cls._enum_
        if enumeration._find(value) is not None:
            return enumeration._find(value)
        if value not in enumeration._combined:
            made = cls(value)
            made._value_ = value
            parts = [one._name_ for one in made]
            rest = value & ~known
            made._name_ = "|".join(parts + [str(rest)] * bool(rest)) or None
            enumeration._combined[value] = made
        return enumeration._combined[value]

    def __iter__(self):
        for bit in _bits(self._value_):
            member = self._enum_._find(bit)
            if member is not None:
                yield member

    def __len__(self):
        return len(list(_bits(self._value_)))

    def __contains__(self, other):
        if not isinstance(other, self._enum_):
            raise TypeError("unsupported operand type(s) for 'in'")
        return other._value_ & self._value_ == other._value_

    def __bool__(self):
        return bool(self._value_)

    def __repr__(self):
        name = "." + self._name_ if self._name_ else ""
        return "<{}{}: {!r}>".format(type(self).__name__, name, self._value_)

    def __str__(self):
        name = type(self).__name__
        return "{}.{}".format(name, self._name_) if self._name_ else "{}({!r})".format(name, self._value_)

    def _operand(self, other):
        if isinstance(other, self._enum_):
            return other._value_
        return other if isinstance(self, int) and isinstance(other, int) else None

    def __or__(self, other):
        other = self._operand(other)
        return NotImplemented if other is None else self._enum_(self._value_ | other)

    def __and__(self, other):
        other = self._operand(other)
        return NotImplemented if other is None else self._enum_(self._value_ & other)

    def __xor__(self, other):
        other = self._operand(other)
        return NotImplemented if other is None else self._enum_(self._value_ ^ other)

    __ror__ = __or__
    __rand__ = __and__
    __rxor__ = __xor__

    def __invert__(self):
        return self._enum_(self._known() & ~self._value_)


class IntFlag(int, Flag):
    @classmethod
    def _outside(cls, value):
        pass

    def __str__(self):
        return str(self._value_)
