// SPDX-License-Identifier: MIT
// port/libc/stdlib.c over the host's math library. Commands: atoi HEX (bytes of the text); abs N; log2 BITS,
// exp BITS, sqrt BITS (of doubles).

#include "talk.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>

#include "hal/hal.h"

#undef errno
#define errno port_errno
#define abort port_abort
#define exit port_exit
#define abs port_abs
#define atoi port_atoi
#define exp port_exp
#define fabs port_fabs
#define log2 port_log2
#define sincos port_sincos
#define sqrt port_sqrt
_Noreturn void libc_assert_failed(const char *what, const char *file, int line);
_Noreturn void abort(void);
_Noreturn void exit(int code);
#include "libc/stdlib.c"
#undef exit
#undef abort

_Noreturn void hal_exit(int code) { exit(code); }

TALK_PANIC(exit(120))

static void command(const talk_t *t) {
    if (talk_is(t, "atoi")) {
        size_t len;
        unsigned char *p = talk_bytes(t, 1, &len);
        char *text = malloc(len + 1); // ends where the block does
        memcpy(text, p, len);
        text[len] = '\0';
        printf("%d\n", port_atoi(text));
        free(text);
        free(p);
    } else if (talk_is(t, "abs")) {
        printf("%d\n", port_abs((int)strtol(t->word[1], NULL, 0)));
    } else if (talk_is(t, "log2") || talk_is(t, "exp") || talk_is(t, "sqrt")) {
        for (int i = 1; i < t->n; i++) {
            union {
                uint64_t bits;
                double d;
            } v = {.bits = talk_number(t, i)};
            v.d = talk_is(t, "exp") ? port_exp(v.d) : talk_is(t, "sqrt") ? port_sqrt(v.d) : port_log2(v.d);
            printf("%s%llu", i > 1 ? " " : "", (unsigned long long)v.bits);
        }
        printf("\n");
    }
}

int main(void) { return talk(command); }
