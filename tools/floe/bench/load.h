// SPDX-License-Identifier: MIT
// What programs that put load on a server share: their clock, how long each thing took, and where the server is.

#ifndef FLOE_BENCH_LOAD_H
#define FLOE_BENCH_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint32_t *times_us;
static uint64_t times, room;

static void refuse(const char *what) {
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(2);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void note_time(uint64_t ns) {
    if (times == room) {
        room = room ? room * 2 : 1 << 16;
        times_us = realloc(times_us, room * sizeof *times_us);
        if (times_us == NULL) {
            refuse("no memory");
        }
    }
    uint64_t us = ns / 1000;
    times_us[times++] = us > UINT32_MAX ? UINT32_MAX : us;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_times(void) {
    if (times > 0) {
        qsort(times_us, times, sizeof *times_us, by_size);
    }
}

// Within how many ms this share of what was noted and sorted lies; 0 where nothing was.
static double at_ms(double share) {
    uint64_t at = (uint64_t)(times * share);
    return times ? times_us[at < times ? at : times - 1] / 1e3 : 0;
}

// ADDRESS:PORT of IPv4; what is none ends the program.
static struct sockaddr_in read_endpoint(const char *text) {
    char address[64];
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *colon = strrchr(text, ':');
    int port = colon == NULL ? 0 : atoi(colon + 1);
    if (colon != NULL && colon - text < (int)sizeof address) {
        memcpy(address, text, colon - text);
        address[colon - text] = 0;
    }
    if (colon == NULL || colon - text >= (int)sizeof address || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
        port < 1 || port > 65535) {
        refuse("ADDRESS:PORT has an IPv4 address and a port");
    }
    to.sin_port = htons(port);
    return to;
}

#endif
