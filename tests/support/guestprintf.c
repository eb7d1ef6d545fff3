// SPDX-License-Identifier: MIT
// snprintf for guests in C (cguest.py), which have no MicroPython, whose formatting the port's own is. Knows %s, and
// %d %u %x %p with and without l: all that port/hal/panic.c asks for.

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
    char *out;
    size_t size, used;
} text_t;

static void put(text_t *t, char c) {
    if (t->used + 1 < t->size) {
        t->out[t->used] = c;
        t->out[t->used + 1] = '\0';
    }
    t->used++;
}

static void put_number(text_t *t, uint64_t n, unsigned base) {
    char digits[20];
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[n % base];
    } while ((n /= base) > 0);
    while (count > 0) {
        put(t, digits[--count]);
    }
}

int vsnprintf(char *out, size_t size, const char *format, va_list ap) {
    text_t t = {out, size, 0};
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            put(&t, *format);
            continue;
        }
        bool wide = *++format == 'l';
        format += wide;
        if (*format == 's') {
            for (const char *s = va_arg(ap, const char *); *s != '\0'; s++) {
                put(&t, *s);
            }
        } else if (*format == 'd') {
            int64_t n = wide ? va_arg(ap, long) : va_arg(ap, int);
            if (n < 0) {
                put(&t, '-');
            }
            put_number(&t, n < 0 ? -(uint64_t)n : (uint64_t)n, 10);
        } else {
            wide |= *format == 'p';
            put_number(&t, wide ? va_arg(ap, unsigned long) : va_arg(ap, unsigned), *format == 'u' ? 10 : 16);
        }
    }
    return (int)t.used;
}

int snprintf(char *out, size_t size, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(out, size, format, ap);
    va_end(ap);
    return n;
}
