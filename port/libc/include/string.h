// SPDX-License-Identifier: MIT
// ISO C 7.24, as far as the image uses it. Implemented in port/libc/string.c.
#ifndef FLOE_LIBC_STRING_H
#define FLOE_LIBC_STRING_H
#include <stddef.h>
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strcpy(char *restrict dst, const char *restrict src);
char *strncpy(char *restrict dst, const char *restrict src, size_t n);
char *strcat(char *restrict dst, const char *restrict src);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *s, const char *needle);
size_t strspn(const char *s, const char *set);
size_t strcspn(const char *s, const char *set);

// Where the compiler knows how large the memory is that is written to, and not how much is written, port/libc/fortify.c
// checks it at run time. Its own files define FLOE_LIBC_UNCHECKED.
#if !defined(FLOE_LIBC_UNCHECKED) && defined(__OPTIMIZE__)
#define FLOE_CHECKED(result) extern inline __attribute__((gnu_inline, always_inline, artificial)) result
#define FLOE_ROOM(p) __builtin_object_size(p, 0)
FLOE_CHECKED(void *) memcpy(void *restrict dst, const void *restrict src, size_t n) {
    return __builtin___memcpy_chk(dst, src, n, FLOE_ROOM(dst));
}
FLOE_CHECKED(void *) memmove(void *dst, const void *src, size_t n) {
    return __builtin___memmove_chk(dst, src, n, FLOE_ROOM(dst));
}
FLOE_CHECKED(void *) memset(void *dst, int c, size_t n) { return __builtin___memset_chk(dst, c, n, FLOE_ROOM(dst)); }
FLOE_CHECKED(char *) strcpy(char *restrict dst, const char *restrict src) {
    return __builtin___strcpy_chk(dst, src, FLOE_ROOM(dst));
}
FLOE_CHECKED(char *) strncpy(char *restrict dst, const char *restrict src, size_t n) {
    return __builtin___strncpy_chk(dst, src, n, FLOE_ROOM(dst));
}
FLOE_CHECKED(char *) strcat(char *restrict dst, const char *restrict src) {
    return __builtin___strcat_chk(dst, src, FLOE_ROOM(dst));
}
#endif
#endif
