// SPDX-License-Identifier: MIT
// The loop of every program in this folder: a line of words comes in, command() answers in lines, "." ends the
// answer (tests/c/support/harness.py is the other end). The file under test is included by the program, so that its
// static functions can be called. Context: host, sanitizers on.

#ifndef FLOE_TEST_TALK_H
#define FLOE_TEST_TALK_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TALK_LINE_MAX = 1 << 20, TALK_WORDS_MAX = 4096 };

typedef struct {
    int n;
    char *word[TALK_WORDS_MAX];
} talk_t;

static uint64_t talk_number(const talk_t *t, int i) { return i < t->n ? strtoull(t->word[i], NULL, 0) : 0; }

static int talk_is(const talk_t *t, const char *name) { return t->n > 0 && strcmp(t->word[0], name) == 0; }

static unsigned talk_digit(char c) {
    const char *digits = "0123456789abcdef", *at = c == 0 ? NULL : strchr(digits, c | 0x20);
    if (at == NULL) {
        abort();
    }
    return (unsigned)(at - digits);
}

// Bytes of a word in hexadecimal ("-" for none), in a heap block of exactly their size: the caller frees it.
static unsigned char *talk_bytes(const talk_t *t, int i, size_t *len) {
    const char *hex = i < t->n && strcmp(t->word[i], "-") != 0 ? t->word[i] : "";
    *len = strlen(hex) / 2;
    unsigned char *p = malloc(*len > 0 ? *len : 1);
    for (size_t k = 0; k < *len; k++) {
        p[k] = (unsigned char)(talk_digit(hex[2 * k]) << 4 | talk_digit(hex[2 * k + 1]));
    }
    return p;
}

static void talk_print_bytes(const void *data, size_t len) {
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++) {
        printf("%02x", p[i]);
    }
    printf("\n");
}

// A hal_panic() that prints its line and then does `end`, which does not return.
#define TALK_PANIC(end) \
    _Noreturn void hal_panic(const char *fmt, ...) { \
        va_list ap; \
        va_start(ap, fmt); \
        printf("PANIC "); \
        vprintf(fmt, ap); \
        printf("\n"); \
        va_end(ap); \
        end; \
    }

// Serve commands until standard input ends.
static int talk(void (*command)(const talk_t *t)) {
    static char line[TALK_LINE_MAX];
    static talk_t t;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        t.n = 0;
        for (char *w = strtok(line, " \n"); w != NULL && t.n < TALK_WORDS_MAX; w = strtok(NULL, " \n")) {
            t.word[t.n++] = w;
        }
        command(&t);
        printf(".\n");
        fflush(stdout);
    }
    (void)talk_number;
    (void)talk_is;
    (void)talk_bytes;
    (void)talk_print_bytes;
    return 0;
}

#endif
