// SPDX-License-Identifier: MIT
// Formatting into memory (ISO C 7.21.6) by MicroPython's shared/libc/printf.c. There are no files here.
#ifndef FLOE_LIBC_STDIO_H
#define FLOE_LIBC_STDIO_H
#include <stdarg.h>
#include <stddef.h>
#define EOF (-1)
#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2
int printf(const char *restrict fmt, ...) __attribute__((format(printf, 1, 2)));
int vprintf(const char *restrict fmt, va_list ap) __attribute__((format(printf, 1, 0)));
int putchar(int c);
int puts(const char *s);
int snprintf(char *restrict s, size_t n, const char *restrict fmt, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *restrict s, size_t n, const char *restrict fmt, va_list ap) __attribute__((format(printf, 3, 0)));

#if !defined(FLOE_LIBC_UNCHECKED) && defined(__OPTIMIZE__) // as in string.h
extern inline __attribute__((gnu_inline, always_inline, artificial)) int snprintf(char *restrict s, size_t n,
                                                                                  const char *restrict fmt, ...) {
    return __builtin___snprintf_chk(s, n, 0, __builtin_object_size(s, 0), fmt, __builtin_va_arg_pack());
}
extern inline __attribute__((gnu_inline, always_inline, artificial)) int
vsnprintf(char *restrict s, size_t n, const char *restrict fmt, va_list ap) {
    return __builtin___vsnprintf_chk(s, n, 0, __builtin_object_size(s, 0), fmt, ap);
}
#endif
#endif
