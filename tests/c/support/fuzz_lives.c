// SPDX-License-Identifier: MIT
// Chance, its judge, and the runner of random lives: each in a process of its own; one that takes over 5 s of the
// processor, or sleeps for a minute, is a hang.

#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

enum { LIFE_S = 5, ASLEEP_S = 60 };

static uint64_t state;

void fuzz_fail(const char *what, int line) {
    printf("fuzz: %s, line %d\n", what, line);
    fflush(stdout);
    _Exit(4);
}

uint32_t fuzz_pick(uint32_t below) { // xorshift64*
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 32) % below;
}

uint32_t fuzz_sum(uint32_t s, const uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++) {
        s = s * 31 + p[i];
    }
    return s;
}

int fuzz_lives(void (*life)(void), unsigned long seed, unsigned long count) {
    int bad = 0;
    for (unsigned long i = 0; i < count; i++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            struct itimerval life_time = {.it_value = {.tv_sec = LIFE_S}};
            setitimer(ITIMER_PROF, &life_time, NULL);
            alarm(ASLEEP_S);
            state = (seed + i) * 0x9e3779b97f4a7c15ull + 1;
            life();
            fflush(stdout);
            _Exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            printf("fuzz: seed %lu ended with status %#x\n", seed + i, status);
            bad++;
        }
    }
    return bad;
}
