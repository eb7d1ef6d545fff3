// SPDX-License-Identifier: MIT
// The few functions of <stdlib.h>, <assert.h> and <math.h> that no upstream brings. Owns errno.
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

// The compiler calls it where sin and cos of one argument stand together.
void sincos(double x, double *s, double *c);
void sincos(double x, double *s, double *c) {
    *s = sin(x);
    *c = cos(x);
}
