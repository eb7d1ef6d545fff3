// SPDX-License-Identifier: MIT
// port/libc/string.c beside the host's C library. Every buffer lies at the end of a heap block, so that the
// sanitizer sees each byte read or written too far. Commands: the function's name; atoi TEXT; log2 BITS.

#include "talk.h"

#include <assert.h>
#include <ctype.h>
#include <emmintrin.h>
#include <errno.h>
#include <math.h>

#include "hal/hal.h"

// What the port defines goes by other names here; the host's headers are in already.
#define memcpy port_memcpy
#define memmove port_memmove
#define memset port_memset
#define memcmp port_memcmp
#define memchr port_memchr
#define strlen port_strlen
#define strnlen port_strnlen
#define strcmp port_strcmp
#define strncmp port_strncmp
#define strcpy port_strcpy
#define strncpy port_strncpy
#define strcat port_strcat
#define strchr port_strchr
#define strrchr port_strrchr
#define strstr port_strstr
#define strspn port_strspn
#define strcspn port_strcspn
#include "libc/include/string.h"
#include "libc/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strcpy
#undef strncpy
#undef strcat
#undef strchr
#undef strrchr
#undef strstr
#undef strspn
#undef strcspn

enum { LEN_MAX = 200, ALIGNS = 16, RANDOM_ROUNDS = 20000 };

static uint32_t seed = 12345;

static unsigned next_random(unsigned below) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

// n bytes at `align` modulo 16 that end where the heap block ends; *block is for free().
static unsigned char *place(size_t n, size_t align, unsigned char **block) {
    *block = malloc(n + align > 0 ? n + align : 1);
    if (n + align > 0) {
        memset(*block, 0xee, n + align);
    }
    return *block + align;
}

static void fill(unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        p[i] = (unsigned char)(next_random(255) + 1);
    }
}

#define CHECK(e) \
    do { \
        if (!(e)) { \
            printf("FAILED %s: n=%zu a=%zu b=%zu, line %d\n", #e, n, (size_t)a, (size_t)b, __LINE__); \
            return; \
        } \
    } while (0)

static void check_memcpy(void) {
    static const size_t long_ones[] = {255, 256, 257, 1000, 4096, 65537};
    for (size_t i = 0; i <= LEN_MAX + HAL_ARRAY_LEN(long_ones); i++) {
        size_t n = i <= LEN_MAX ? i : long_ones[i - LEN_MAX - 1];
        for (size_t a = 0; a < ALIGNS; a++) {
            for (size_t b = 0; b < ALIGNS; b++) {
                unsigned char *from_block, *to_block;
                unsigned char *from = place(n, a, &from_block), *to = place(n, b, &to_block);
                fill(from, n);
                CHECK(port_memcpy(to, from, n) == to);
                CHECK(memcmp(to, from, n) == 0);
                CHECK(b == 0 || to[-1] == 0xee);
                free(from_block);
                free(to_block);
            }
        }
    }
    printf("ok\n");
}

static void check_memmove(void) {
    unsigned char expected[LEN_MAX + 80];
    for (size_t n = 0; n <= LEN_MAX; n++) {
        for (size_t a = 0; a < ALIGNS; a += 3) {
            for (size_t b = 0; b < 80; b++) { // the distance between the two
                for (int down = 0; down < 2; down++) {
                    unsigned char *block, *p = place(n + b, a, &block);
                    fill(p, n + b);
                    unsigned char *from = down ? p + b : p, *to = down ? p : p + b;
                    memcpy(expected, p, n + b);
                    memmove(expected + (to - p), expected + (from - p), n);
                    CHECK(port_memmove(to, from, n) == to);
                    CHECK(memcmp(p, expected, n + b) == 0);
                    free(block);
                }
            }
        }
    }
    printf("ok\n");
}

static void check_memset(void) {
    for (size_t n = 0; n <= LEN_MAX; n++) {
        for (size_t a = 0; a < ALIGNS; a++) {
            for (size_t b = 0; b < 3; b++) {
                static const int values[] = {0, 0x1ff, -128};
                unsigned char *block, *p = place(n, a, &block);
                CHECK(port_memset(p, values[b], n) == p);
                for (size_t i = 0; i < n; i++) {
                    CHECK(p[i] == (unsigned char)values[b]);
                }
                CHECK(a == 0 || p[-1] == 0xee);
                free(block);
            }
        }
    }
    printf("ok\n");
}

static int sign(int v) { return (v > 0) - (v < 0); }

static void check_memcmp(void) {
    static const unsigned char pairs[][2] = {{0, 255}, {127, 128}, {1, 2}, {200, 3}};
    for (size_t n = 0; n <= LEN_MAX; n++) {
        for (size_t a = 0; a < ALIGNS; a += 5) {
            size_t b = ALIGNS - 1 - a;
            unsigned char *x_block, *y_block, *x = place(n, a, &x_block), *y = place(n, b, &y_block);
            fill(x, n);
            memcpy(y, x, n);
            CHECK(port_memcmp(x, y, n) == 0);
            for (size_t at = 0; at < n; at++) {
                const unsigned char *pair = pairs[at % HAL_ARRAY_LEN(pairs)];
                unsigned char old = x[at];
                x[at] = pair[0];
                y[at] = pair[1];
                CHECK(sign(port_memcmp(x, y, n)) == sign(memcmp(x, y, n)));
                CHECK(sign(port_memcmp(y, x, n)) == sign(memcmp(y, x, n)));
                CHECK(port_memcmp(x, y, at) == 0);
                x[at] = y[at] = old;
            }
            free(x_block);
            free(y_block);
        }
    }
    printf("ok\n");
}

static void check_memchr(void) {
    for (size_t n = 0; n <= LEN_MAX; n++) {
        for (size_t a = 0; a < ALIGNS; a++) {
            size_t b = 0;
            unsigned char *block, *p = place(n, a, &block);
            memset(p, 1, n);
            CHECK(port_memchr(p, 0xc3, n) == NULL);
            for (b = n; b-- > 0;) { // the first of many is meant
                p[b] = 0xc3;
                CHECK(port_memchr(p, 0xc3, n) == p + b);
                CHECK(port_memchr(p, 0x7c3, n) == p + b); // converted to unsigned char
                CHECK(port_memchr(p, 0xc3, b) == NULL);
            }
            free(block);
        }
    }
    printf("ok\n");
}

static void check_strlen(void) {
    for (size_t n = 0; n <= LEN_MAX; n++) {
        for (size_t a = 0; a < ALIGNS; a++) {
            unsigned char *block, *p = place(n + 1, a, &block);
            size_t b = 0;
            fill(p, n);
            p[n] = 0;
            CHECK(port_strlen((char *)p) == n);
            static const size_t limits[] = {0, 1, 7, 15, 16, 17, 100, 201, 4096, SIZE_MAX};
            for (b = 0; b < HAL_ARRAY_LEN(limits); b++) {
                CHECK(port_strnlen((char *)p, limits[b]) == (n < limits[b] ? n : limits[b]));
            }
            free(block);
        }
        unsigned char *block, *p = place(n, 3, &block);
        size_t a = 3, b = 0;
        fill(p, n);
        CHECK(port_strnlen((char *)p, n) == n); // nothing ends it but the limit
        free(block);
    }
    printf("ok\n");
}

// A string of at most `longest` letters of a small alphabet, at the end of a heap block.
static char *word(size_t longest, unsigned char **block) {
    size_t n = next_random((unsigned)longest + 1);
    char *s = (char *)place(n + 1, next_random(ALIGNS), block);
    for (size_t i = 0; i < n; i++) {
        s[i] = "ab\xe9"[next_random(3)];
    }
    s[n] = '\0';
    return s;
}

static void check_compare(void) {
    for (size_t n = 0; n < RANDOM_ROUNDS; n++) {
        unsigned char *x_block, *y_block;
        size_t a = 0, b = next_random(12);
        const char *x = word(6, &x_block), *y = word(6, &y_block);
        CHECK(sign(port_strcmp(x, y)) == sign(strcmp(x, y)));
        CHECK(sign(port_strncmp(x, y, b)) == sign(strncmp(x, y, b)));
        CHECK(port_strspn(x, y) == strspn(x, y));
        CHECK(port_strcspn(x, y) == strcspn(x, y));
        free(x_block);
        free(y_block);
    }
    printf("ok\n");
}

static void check_search(void) {
    for (size_t n = 0; n < RANDOM_ROUNDS; n++) {
        unsigned char *x_block, *y_block;
        size_t a = 0, b = 0;
        const char *x = word(40, &x_block), *y = word(4, &y_block);
        CHECK(port_strstr(x, y) == strstr(x, y));
        static const int letters[] = {'a', 'b', 0xe9, -23, 'x', 0};
        for (b = 0; b < HAL_ARRAY_LEN(letters); b++) {
            CHECK(port_strchr(x, letters[b]) == strchr(x, letters[b]));
            CHECK(port_strrchr(x, letters[b]) == strrchr(x, letters[b]));
        }
        free(x_block);
        free(y_block);
    }
    printf("ok\n");
}

static void check_strcpy(void) {
    for (size_t n = 0; n < RANDOM_ROUNDS; n++) {
        unsigned char *x_block, *to_block;
        size_t a = next_random(ALIGNS), b = next_random(60);
        const char *x = word(40, &x_block);
        char *to = (char *)place(strlen(x) + 1, a, &to_block);
        CHECK(port_strcpy(to, x) == to && strcmp(to, x) == 0);
        free(to_block);
        to = (char *)place(b, a, &to_block);
        char expected[64];
        strncpy(expected, x, b);
        CHECK(port_strncpy(to, x, b) == to && memcmp(to, expected, b) == 0);
        free(to_block);
        to = (char *)place(2 * strlen(x) + 1, a, &to_block);
        strcpy(to, x);
        CHECK(port_strcat(to, x) == to && strlen(to) == 2 * strlen(x) && strcmp(to + strlen(x), x) == 0);
        free(to_block);
        free(x_block);
    }
    printf("ok\n");
}

// One byte too many: for the test that the sanitizer is on.
static void check_overread(void) {
    unsigned char *from_block, *to_block, *from = place(32, 0, &from_block), *to = place(33, 0, &to_block);
    port_memcpy(to, from, 33);
    free(from_block);
    free(to_block);
}

static void command(const talk_t *t) {
    static const struct {
        const char *name;
        void (*check)(void);
    } checks[] = {
        {"memcpy", check_memcpy}, {"memmove", check_memmove},   {"memset", check_memset},   {"memcmp", check_memcmp},
        {"memchr", check_memchr}, {"strlen", check_strlen},     {"compare", check_compare}, {"search", check_search},
        {"strcpy", check_strcpy}, {"overread", check_overread},
    };
    for (size_t i = 0; i < HAL_ARRAY_LEN(checks); i++) {
        if (talk_is(t, checks[i].name)) {
            checks[i].check();
            return;
        }
    }
    printf("no such check\n");
}

int main(void) { return talk(command); }
