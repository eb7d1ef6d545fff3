// SPDX-License-Identifier: MIT
// modules/tls/tls_platform.c alone: dates beside the C library's own, and whose memory it is. Prints what is wrong.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "modules/tls/tls_platform.c" // its memory's count and mbedTLS's date are reached here

enum { RAM = 1 << 20 };

static uint64_t wall_ns;

uint64_t hal_clock_ns(void) { return 0; }
uint64_t hal_clock_wall_ns(void) { return wall_ns; }
size_t hal_mem_total(void) { return RAM; }
bool hal_entropy_get(void *out, size_t len) { return out == NULL && len == 0; }

static bool same(const struct tm *a, const struct tm *b) {
    return a->tm_year == b->tm_year && a->tm_mon == b->tm_mon && a->tm_mday == b->tm_mday && a->tm_hour == b->tm_hour &&
           a->tm_min == b->tm_min && a->tm_sec == b->tm_sec;
}

// No step but 1 has a factor in common with a day's seconds: all of a day's come, and each day of some leap years.
static int dates(void) {
    static const long from_to_step[][3] = {
        {0, 172800, 1},
        {1700000000, 1900000000, 5003},
        {4102444800, 4110000000, 4001}, // 2100 is no leap year
        {0, 253402300799, 7777777},     // to the end of the year 9999
    };
    int wrong = 0;
    for (size_t i = 0; i < sizeof(from_to_step) / sizeof(from_to_step[0]); i++) {
        const long *v = from_to_step[i];
        for (mbedtls_time_t t = v[0]; t <= v[1] && wrong < 3; t += v[2]) {
            struct tm ours, libc;
            time_t also = (time_t)t;
            if (mbedtls_platform_gmtime_r(&t, &ours) != &ours || !same(&ours, gmtime_r(&also, &libc))) {
                printf("date of %ld: %d-%d-%d %d:%d:%d\n", (long)t, ours.tm_year + 1900, ours.tm_mon + 1, ours.tm_mday,
                       ours.tm_hour, ours.tm_min, ours.tm_sec);
                wrong++;
            }
        }
    }
    struct tm unused;
    mbedtls_time_t before = -1;
    if (mbedtls_platform_gmtime_r(&before, &unused) != NULL) {
        printf("a date before 1970\n");
        wrong++;
    }
    return wrong;
}

static int clock_is_set(void) {
    static const struct {
        uint64_t s;
        bool valid;
    } known[] = {{0, false}, {1577836799, false}, {1577836800, true}, {1800000000, true}};
    int wrong = 0;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        wall_ns = known[i].s * 1000000000 + 999999999;
        long now = -1;
        if (tls_time(&now) != (long)known[i].s || now != (long)known[i].s || tls_time_valid() != known[i].valid) {
            printf("clock at %llu\n", (unsigned long long)known[i].s);
            wrong++;
        }
    }
    return wrong;
}

// All of it together takes half of RAM at most, and what is given back may be taken again.
static int memory(void) {
    enum { PIECE = 1000, MOST = RAM / 2 / PIECE };
    unsigned char *taken[MOST + 1];
    int wrong = 0;
    for (int round = 0; round < 2; round++) {
        size_t n = 0;
        while (n < MOST + 1 && (taken[n] = tls_calloc(10, PIECE / 10)) != NULL) {
            for (size_t i = 0; i < PIECE; i++) {
                wrong += taken[n][i] != 0;
                taken[n][i] = 0xff;
            }
            n++;
        }
        if (n < MOST * 9 / 10 || n > MOST || tls_memory_used() > RAM / 2 || tls_memory_used() < n * PIECE) {
            printf("%zu pieces, of which %zu bytes are counted\n", n, tls_memory_used());
            wrong++;
        }
        while (n > 0) {
            tls_free(taken[--n]);
        }
        tls_free(NULL);
        if (tls_memory_used() != 0) {
            printf("%zu bytes are counted of none\n", tls_memory_used());
            wrong++;
        }
    }
    if (tls_calloc(SIZE_MAX / 2, 4) != NULL || tls_calloc(SIZE_MAX, 1) != NULL || tls_memory_used() != 0) {
        printf("more than there is\n");
        wrong++;
    }
    return wrong;
}

int main(void) { return dates() + clock_is_set() + memory() == 0 ? 0 : 1; }
