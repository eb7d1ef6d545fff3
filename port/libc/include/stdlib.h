// SPDX-License-Identifier: MIT
// ISO C 7.22, as far as the image uses it. malloc and its family are dlmalloc's (libc/malloc.c).
#ifndef FLOE_LIBC_STDLIB_H
#define FLOE_LIBC_STDLIB_H
#include <stddef.h>
#define EXIT_SUCCESS 0
#define EXIT_FAILURE 1
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t n);
void free(void *p);
_Noreturn void abort(void);
_Noreturn void exit(int code);
int abs(int v);
int atoi(const char *s);
#define alloca(n) __builtin_alloca(n)
#endif
