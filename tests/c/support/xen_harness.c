// SPDX-License-Identifier: MIT
// A Xen driver, the HAL's stand-in and the fake Xen in one process, worked by commands on standard input as harness.c
// is. A program is this file, the fakes, the code under test and one file with xen_extra_command(), its own commands
// (xen_harness.py builds it). Context: host, sanitizers on.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"

enum { WORDS = 256, LINE = 400000 };

bool fake_event_arm(void);
uint64_t fake_event_left(void);
bool xen_extra_command(char **word, unsigned words); // of the program's own file

static bool hal_command(char **word, unsigned words) {
    const char *what = word[0];
    if (strcmp(what, "run") == 0) {
        printf("%d\n", hal_event_run());
    } else if (strcmp(what, "wait") == 0) { // NS: the main loop for so long
        for (uint64_t end = fake_hal.now + fake_xen_word(word, words, 1); fake_hal.now < end;) {
            hal_event_wait(end);
        }
    } else if (strcmp(what, "evarm") == 0) {
        printf("%d\n", fake_event_arm());
    } else if (strcmp(what, "evleft") == 0) {
        printf("%llu\n", (unsigned long long)fake_event_left());
    } else if (strcmp(what, "clock") == 0) {
        printf("%llu\n", (unsigned long long)fake_hal.now);
    } else if (strcmp(what, "hal") == 0) { // KNOB VALUE
        uint64_t v = fake_xen_word(word, words, 2);
        if (strcmp(word[1], "mem_total") == 0) {
            fake_hal.mem_total = v;
        } else if (strcmp(word[1], "dma_left") == 0) {
            fake_hal.dma_left = (int)v;
        } else if (strcmp(word[1], "advance") == 0) {
            fake_hal.now += v;
        } else {
            fake_xen_stray("harness: no such knob of hal", 0);
        }
    } else {
        return false;
    }
    return true;
}

int main(void) {
    static char line[LINE];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *word[WORDS];
        unsigned words = 0;
        for (char *w = strtok(line, " \n"); w != NULL && words < WORDS; w = strtok(NULL, " \n")) {
            word[words++] = w;
        }
        if (words > 0 && !hal_command(word, words) && !fake_xen_command(word, words) &&
            !xen_extra_command(word, words)) {
            printf("harness: no command %s\n", word[0]);
            return 2;
        }
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
