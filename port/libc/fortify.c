// SPDX-License-Identifier: MIT
// Writes into memory of a size that the compiler knows, of a length that it does not (string.h, stdio.h): one that does
// not fit ends the VM before it is made. Owns nothing. Context: any.

#define FLOE_LIBC_UNCHECKED
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../hal/hal.h"

void *__memcpy_chk(void *restrict dst, const void *restrict src, size_t n, size_t room);
void *__memmove_chk(void *dst, const void *src, size_t n, size_t room);
void *__memset_chk(void *dst, int c, size_t n, size_t room);
char *__strcpy_chk(char *restrict dst, const char *restrict src, size_t room);
char *__strncpy_chk(char *restrict dst, const char *restrict src, size_t n, size_t room);
char *__strcat_chk(char *restrict dst, const char *restrict src, size_t room);
int __snprintf_chk(char *restrict s, size_t n, int flag, size_t room, const char *restrict fmt, ...);
int __vsnprintf_chk(char *restrict s, size_t n, int flag, size_t room, const char *restrict fmt, va_list ap);

static inline void check(size_t n, size_t room) {
    if (n > room) {
        hal_panic("a write of %lu bytes where %lu have room", (unsigned long)n, (unsigned long)room);
    }
}

void *__memcpy_chk(void *restrict dst, const void *restrict src, size_t n, size_t room) {
    check(n, room);
    return memcpy(dst, src, n);
}

void *__memmove_chk(void *dst, const void *src, size_t n, size_t room) {
    check(n, room);
    return memmove(dst, src, n);
}

void *__memset_chk(void *dst, int c, size_t n, size_t room) {
    check(n, room);
    return memset(dst, c, n);
}

char *__strcpy_chk(char *restrict dst, const char *restrict src, size_t room) {
    check(strlen(src) + 1, room);
    return strcpy(dst, src);
}

char *__strncpy_chk(char *restrict dst, const char *restrict src, size_t n, size_t room) {
    check(n, room);
    return strncpy(dst, src, n);
}

char *__strcat_chk(char *restrict dst, const char *restrict src, size_t room) {
    check(strlen(dst) + strlen(src) + 1, room);
    return strcat(dst, src);
}

int __vsnprintf_chk(char *restrict s, size_t n, int flag, size_t room, const char *restrict fmt, va_list ap) {
    (void)flag;
    check(n, room);
    return vsnprintf(s, n, fmt, ap);
}

int __snprintf_chk(char *restrict s, size_t n, int flag, size_t room, const char *restrict fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int length = __vsnprintf_chk(s, n, flag, room, fmt, ap);
    va_end(ap);
    return length;
}
