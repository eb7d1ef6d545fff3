# SPDX-License-Identifier: MIT
"""Numbers as text, to the letter as Redis reads and writes them."""

import math

from resp import NOT_FLOAT, NOT_INTEGER, CommandError

MAX = (1 << 63) - 1
MIN = -(1 << 63)
_DIGITS = 17  # of a double


def parse_integer(text: bytes, problem: str = NOT_INTEGER) -> int:
    """A whole number of 64 bits without blanks, sign + or zeros in front. Raises CommandError."""
    digits = text[1:] if text[:1] == b"-" else text
    if digits.isdigit() and len(digits) < 20 and (digits[0] != 48 or text == b"0"):
        number = int(text)
        if MIN <= number <= MAX:
            return number
    raise CommandError(problem)


def parse_float(text: bytes, problem: str = NOT_FLOAT) -> float:
    """Raises CommandError."""
    if text and text[0] not in b" \t\r\n" and text[-1] not in b" \t\r\n" and b"_" not in text:
        try:
            number = float(text.decode())
            if not math.isnan(number):
                return number
        except (ValueError, UnicodeError):
            pass
    raise CommandError(problem)


def format_float(number: float) -> bytes:
    """As C's %.17g: exact, unlike what the interpreter's own formatting promises."""
    if number == math.inf:
        return b"inf"
    if number == -math.inf:
        return b"-inf"
    if number == int(number) and -1e17 < number < 1e17:
        if number == 0 and math.copysign(1, number) < 0:
            return b"-0"
        return b"%d" % int(number)
    sign = b"-" if number < 0 else b""
    digits, exponent = _decimal(abs(number))
    text = (b"%d" % digits).rstrip(b"0")
    if exponent < -4 or exponent >= _DIGITS:
        tail = b"." + text[1:] if len(text) > 1 else b""
        return b"%s%s%se%s%s" % (sign, text[:1], tail, b"-" if exponent < 0 else b"+", b"%02d" % abs(exponent))
    if exponent < 0:
        return sign + b"0." + b"0" * (-exponent - 1) + text
    whole = exponent + 1
    if len(text) <= whole:
        return sign + text + b"0" * (whole - len(text))
    return sign + text[:whole] + b"." + text[whole:]


def _decimal(number: float) -> tuple:
    """(17 digits as a whole number, exponent of the first of them)."""
    mantissa, power = math.frexp(number)
    mantissa = int(mantissa * (1 << 53))
    power -= 53
    exponent = math.floor(math.log10(number))
    while True:
        shift = _DIGITS - 1 - exponent
        above = mantissa
        below = 1
        if power >= 0:
            above <<= power
        else:
            below <<= -power
        if shift >= 0:
            above *= 10**shift
        else:
            below *= 10**-shift
        digits, rest = divmod(above, below)
        if rest * 2 > below or (rest * 2 == below and digits & 1):
            digits += 1
        if digits >= 10**_DIGITS:
            exponent += 1
        elif digits < 10 ** (_DIGITS - 1):
            exponent -= 1
        else:
            return digits, exponent


def _exact(text: bytes) -> tuple:
    """(whole number, power of ten) of a decimal number; infinity and what is none raise CommandError."""
    parse_float(text)
    mantissa, _, exponent = text.lower().partition(b"e")
    whole, _, part = mantissa.partition(b".")
    try:
        power = int(exponent or b"0") - len(part)
        if abs(power) > 400:
            raise CommandError(NOT_FLOAT)
        return int((whole + part).decode()), power
    except ValueError:
        raise CommandError("ERR increment would produce NaN or Infinity")


_WIDE = 64  # bits of the mantissa with which Redis adds, an x86 long double


def _rounded(above: int, below: int) -> tuple:
    """The wide float that is nearest to a fraction: (whole number, power of two)."""
    sign = -1 if above < 0 else 1
    above = abs(above)
    if not above:
        return 0, 0
    power = len(bin(above)) - len(bin(below)) - _WIDE
    if power > 0:
        below <<= power
    else:
        above <<= -power
    if above >> _WIDE >= below:  # 65 bits
        below <<= 1
        power += 1
    return sign * _nearest(above, below), power


def _nearest(above: int, below: int) -> int:
    """Of two whole numbers that are as near the even one; above is not negative."""
    whole, rest = divmod(above, below)
    return whole + (2 * rest > below or (2 * rest == below and whole & 1))


def _wide(text: bytes) -> tuple:
    """Raises CommandError."""
    number, power = _exact(text)
    return _rounded(number * 10 ** max(power, 0), 10 ** max(-power, 0))


def add_decimal(text: bytes, more: bytes) -> bytes:
    """The sum of two decimal numbers, to the digit as Redis has it: 17 behind the point at most. Raises as _exact()."""
    first, first_power = _wide(text)
    second, second_power = _wide(more)
    power = min(first_power, second_power)
    total, more_power = _rounded((first << (first_power - power)) + (second << (second_power - power)), 1)
    power += more_power
    sign = b"-" if total < 0 else b""
    digits = b"%d" % _nearest((abs(total) << max(power, 0)) * 10**_DIGITS, 1 << max(-power, 0))
    if len(digits) <= _DIGITS:
        digits = b"0" * (_DIGITS + 1 - len(digits)) + digits
    said = digits[:-_DIGITS] + b"." + digits[-_DIGITS:]
    said = said.rstrip(b"0").rstrip(b".")
    return said if said == b"0" else sign + said
