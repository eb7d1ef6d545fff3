// SPDX-License-Identifier: MIT
// The few functions of <stdlib.h>, <assert.h> and <math.h> that no upstream brings, exp, where upstream's gives
// 2.7182818284590455 for 1, and sqrt, which is an instruction. Owns errno.
// Not here: malloc (malloc.c). Context: any.

#include <stdlib.h>

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>

#include "../hal/hal.h"

int errno;

_Noreturn void abort(void) { hal_panic("abort()"); }

_Noreturn void exit(int code) { hal_exit(code); }

_Noreturn void libc_assert_failed(const char *what, const char *file, int line) {
    hal_panic("assertion failed: %s, %s:%d", what, file, line);
}

int abs(int v) { return v < 0 ? -v : v; }

int atoi(const char *s) {
    while (isspace((unsigned char)*s)) {
        s++;
    }
    bool negative = *s == '-';
    s += *s == '-' || *s == '+';
    unsigned v = 0;
    for (; isdigit((unsigned char)*s); s++) {
        v = v * 10 + (unsigned)(*s - '0');
    }
    return (int)(negative ? -v : v);
}

double fabs(double x) { return __builtin_fabs(x); }

// SSE2's instruction, correctly rounded (Intel SDM 2B, SQRTSD); upstream's counts out bit by bit.
double sqrt(double x) {
    __asm__("sqrtsd %0, %0" : "+x"(x));
    return x;
}

// Exact for powers of two: the exponent is split off, and what remains lies around 1.
double log2(double x) {
    if (!(x > 0) || isinf(x)) {
        return log(x);
    }
    int exponent;
    double m = frexp(x, &exponent);
    if (m < M_SQRT1_2) {
        m *= 2;
        exponent--;
    }
    return exponent + log(m) / M_LN2;
}

// x = k ln 2 + r, |r| <= ln 2 / 2; Taylor's series for e^r. 1 + r is summed without loss, so that only the last
// addition rounds. LN2_HI has zeros for the 11 bits of k.
double exp(double x) {
    static const double terms[] = {1.0 / 87178291200, 1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                   1.0 / 362880,      1.0 / 40320,      1.0 / 5040,      1.0 / 720,      1.0 / 120,
                                   1.0 / 24,          1.0 / 6,          1.0 / 2};
    const double LN2_HI = 0x1.62e42feep-1, LN2_LO = 0x1.a39ef35793c76p-33;
    if (!(x > -746 && x < 710)) {
        return isnan(x) ? x : x > 0 ? HUGE_VAL : 0;
    }
    int k = (int)(x / M_LN2 + (x < 0 ? -0.5 : 0.5));
    double hi = x - k * LN2_HI, lo = k * LN2_LO, r = hi - lo, series = 0;
    for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
        series = series * r + terms[i];
    }
    double sum = 1 + hi, lost = (1 - sum) + hi;
    return ldexp(sum + (lost + (series * r * r - lo)), k);
}

// The compiler calls it where sin and cos of one argument stand together.
void sincos(double x, double *s, double *c);
void sincos(double x, double *s, double *c) {
    *s = sin(x);
    *c = cos(x);
}
