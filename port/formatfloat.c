// SPDX-License-Identifier: MIT
// mp_format_float() in place of upstream's: %e, %f, %g and repr() of floats, each digit as CPython has it. Owns
// nothing. Not here: the digits (libc/decimal.c). Context: main loop.

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "py/formatfloat.h"

#include "libc/decimal.h"

enum {
    ALL = 2000, // decimals, of any double
    DEFAULT_PREC = 6,
    EXPONENT_SIZE = 5, // e+308
    LEAST = -4,        // powers of ten below have an exponent
    REPR_BEYOND = 16   // in repr() those from here on, too
};

#ifndef MP_FLOAT_REPR_PREC
#define MP_FLOAT_REPR_PREC (99) // later versions have it in formatfloat.h
#endif

int floe_format_repr(mp_float_t f, char *buf, size_t size, char format, int prec, char sign);

static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }

// What does not fit has fewer decimals; a number in 'f' that does not fit even so is written in 'e'. buf has 24 bytes
// or more.
int mp_format_float(mp_float_t f, char *buf, size_t size, char format, int prec, char sign) {
    char digits[DECIMAL_DIGITS], *s = buf, lower = format & 0x20;
    sign = signbit(f) && !isnan(f) ? '-' : sign;
    if (sign != '\0') {
        *s++ = sign;
    }
    int room = (int)(buf + size - 1 - s), power = 2, decimals = 0;
    bool fixed = true;
    format |= 0x20;
    prec = prec < 0 ? DEFAULT_PREC : prec;
    if (!isfinite(f)) {
        memcpy(digits, isnan(f) ? "NAN" : "INF", 3);
    } else if (format == 'f') {
        int most = prec;
        do {
            decimals = most;
            power = decimal_digits(fabs(f), DECIMAL_DIGITS, decimals, digits);
            most = larger(room - 2 - larger(power, 0), 0);
        } while (decimals > most);
        fixed = power < room;
    } else {
        fixed = false;
    }
    if (!fixed) {
        bool general = format != 'e' && format != 'f';
        int count = smaller(larger(prec + !general, 1), room - EXPONENT_SIZE - 1), beyond = count;
        if (prec == MP_FLOAT_REPR_PREC) {
            count = 0;
            beyond = REPR_BEYOND;
        }
        power = decimal_digits(fabs(f), count, ALL, digits);
        count = count == 0 ? DECIMAL_SHORTEST : count;
        while (general && count > 1 && digits[count - 1] == '0') {
            count--;
        }
        fixed = general && power >= LEAST && power < beyond;
        decimals = larger(count - 1 - (fixed ? power : 0), 0);
    }
    int next = fixed && power < 0 ? power : 0;
    for (int at = fixed && power > 0 ? power : 0; at >= -decimals; at--, next++) {
        if (at == -1) {
            *s++ = '.';
        }
        *s++ = next < 0 ? '0' : digits[next] | lower; // which leaves a digit as it is
    }
    if (!fixed) {
        *s++ = 'E' | lower;
        *s++ = power < 0 ? '-' : '+';
        power = power < 0 ? -power : power;
        for (int place = power < 100 ? 10 : 100; place > 0; place /= 10) {
            *s++ = (char)('0' + power / place % 10);
        }
    }
    *s = '\0';
    return (int)(s - buf);
}

int floe_format_repr(mp_float_t f, char *buf, size_t size, char format, int prec, char sign) {
    (void)prec;
    return mp_format_float(f, buf, size, format, MP_FLOAT_REPR_PREC, sign);
}
