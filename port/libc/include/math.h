// SPDX-License-Identifier: MIT
// ISO C 7.12 for double; the functions are those of MicroPython's lib/libm_dbl (musl's).
#ifndef FLOE_LIBC_MATH_H
#define FLOE_LIBC_MATH_H
typedef float float_t;
typedef double double_t;
#define NAN __builtin_nanf("")
#define INFINITY __builtin_inff()
#define HUGE_VAL __builtin_inf()
#define FLT_EVAL_METHOD 0
#define FP_NAN 0
#define FP_INFINITE 1
#define FP_ZERO 2
#define FP_SUBNORMAL 3
#define FP_NORMAL 4
#define fpclassify(x) __builtin_fpclassify(FP_NAN, FP_INFINITE, FP_NORMAL, FP_SUBNORMAL, FP_ZERO, x)
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define isfinite(x) __builtin_isfinite(x)
#define isnormal(x) __builtin_isnormal(x)
#define signbit(x) __builtin_signbit(x)
#define M_PI 3.14159265358979323846
#define M_E 2.7182818284590452354
#define M_PI_2 1.57079632679489661923
#define M_LN2 0.69314718055994530942
#define M_SQRT1_2 0.70710678118654752440
double acos(double), acosh(double), asin(double), asinh(double), atan(double), atan2(double, double), atanh(double);
double ceil(double), copysign(double, double), cos(double), cosh(double), erf(double), erfc(double), exp(double);
double expm1(double), fabs(double), floor(double), fmod(double, double), frexp(double, int *), ldexp(double, int);
double lgamma(double), log(double), log10(double), log1p(double), log2(double), modf(double, double *);
double nearbyint(double), pow(double, double), rint(double), round(double), scalbn(double, int), sin(double);
double sinh(double), sqrt(double), tan(double), tanh(double), tgamma(double), trunc(double), exp2(double);
long lround(double);
#define nan(tag) __builtin_nan(tag)
#endif
