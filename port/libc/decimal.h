// SPDX-License-Identifier: MIT
// Decimal text of doubles, right to the last bit (decimal.c).

#ifndef FLOE_DECIMAL_H
#define FLOE_DECIMAL_H

enum {
    DECIMAL_SHORTEST = 17, // digits that give every double back
    DECIMAL_DIGITS = 40    // room for digits
};

// The double nearest to the number that begins at s: digits, a point, an exponent, among them underscores, and no sign;
// beyond the largest one infinity. Returns where it ends: at s if it has no digits, at NULL if its exponent has none.
const char *decimal_value(const char *s, const char *end, double *value);

// The first digits of x, count of them, without a point, rounded half to even, and zeros up to DECIMAL_DIGITS; those
// that count less than 10**-decimals are 0, and so are all of 0. A count of 0: as few as give x back. Returns the power
// of ten that the first one counts. x is finite and not negative.
int decimal_digits(double x, int count, int decimals, char *digits);

#endif
