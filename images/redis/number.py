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


def add_decimal(text: bytes, more: bytes) -> bytes:
    """The sum of two decimal numbers, exactly, with at most 17 digits behind the point. Raises CommandError."""
    first, first_power = _exact(text)
    second, second_power = _exact(more)
    power = min(first_power, second_power, 0)
    total = first * 10 ** (first_power - power) + second * 10 ** (second_power - power)
    if power < -_DIGITS:
        below = 10 ** (-_DIGITS - power)
        sign = -1 if total < 0 else 1
        total = sign * ((abs(total) * 2 + below) // (2 * below))
        power = -_DIGITS
    sign = b"-" if total < 0 else b""
    digits = b"%d" % abs(total)
    if power == 0:
        return sign + digits
    if len(digits) <= -power:
        digits = b"0" * (1 - power - len(digits)) + digits
    part = digits[power:].rstrip(b"0")
    return sign + digits[:power] + (b"." + part if part else b"")
