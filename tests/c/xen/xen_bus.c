// SPDX-License-Identifier: MIT
// xenbus.c by commands: list KIND MAX; open KIND NUMBER; close; switch STATE; bwait MASK NS; num NAME MAX MISSING;
// state ("ours theirs backend domain"); on_change close|CODE (what `changed` does besides saying "changed STATE").

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"
#include "xenbus.h"

bool xen_extra_command(char **word, unsigned words);

static xenbus_dev_t dev;
static int on_change = -1;

static void changed(xenbus_dev_t *d) {
    printf("changed %d\n", d->backend_state);
    if (on_change == 0) {
        xenbus_close(d);
    } else if (on_change > 0) {
        xenbus_switch(d, (xenbus_state_t)on_change);
    }
}

static unsigned num(char **word, unsigned words, unsigned i) { return (unsigned)fake_xen_word(word, words, i); }

bool xen_extra_command(char **word, unsigned words) {
    const char *what = word[0];
    if (strcmp(what, "list") == 0) {
        unsigned max = num(word, words, 2), *out = malloc(max * sizeof(*out) + 1);
        int n = xenbus_list(word[1], out, max);
        printf("%d", n);
        for (int i = 0; i < n; i++) {
            printf(" %u", out[i]);
        }
        printf("\n");
        free(out);
    } else if (strcmp(what, "open") == 0) {
        dev.changed = changed;
        printf("%d\n", xenbus_open(&dev, word[1], num(word, words, 2)));
    } else if (strcmp(what, "close") == 0) {
        xenbus_close(&dev);
    } else if (strcmp(what, "switch") == 0) {
        printf("%d\n", xenbus_switch(&dev, (xenbus_state_t)num(word, words, 1)));
    } else if (strcmp(what, "bwait") == 0) {
        printf("%d\n", xenbus_wait(&dev, num(word, words, 1), fake_hal.now + num(word, words, 2)));
    } else if (strcmp(what, "num") == 0) {
        uint64_t v = 12345;
        int err = xenbus_backend_u64(&dev, word[1], num(word, words, 2), num(word, words, 3), &v);
        printf("%d %llu\n", err, (unsigned long long)v);
    } else if (strcmp(what, "state") == 0) {
        printf("%d %d %s %u\n", dev.state, dev.backend_state, dev.backend, dev.backend_dom);
    } else if (strcmp(what, "on_change") == 0) {
        on_change = strcmp(word[1], "close") == 0 ? 0 : (int)num(word, words, 1);
    } else {
        return false;
    }
    return true;
}
