// SPDX-License-Identifier: MIT
// netfront by commands: probe; fuzz SEED COUNT; netback SEED COUNT; and net_user.c's. The backend is worked from
// Python, through the grants and XenStore.

#include <stdio.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"
#include "net_user.h"

bool xen_extra_command(char **word, unsigned words);
int fuzz_netfront(unsigned long seed, unsigned long count); // xen_netfuzz.c
int fuzz_netback(unsigned long seed, unsigned long count);  // xen_netback.c

extern const hal_driver_t xen_netfront_driver;

bool xen_extra_command(char **word, unsigned words) {
    if (strcmp(word[0], "probe") == 0) {
        printf("%d\n", xen_netfront_driver.probe());
    } else if (strcmp(word[0], "fuzz") == 0) {
        printf("%d\n", fuzz_netfront(fake_xen_word(word, words, 1), fake_xen_word(word, words, 2)));
    } else if (strcmp(word[0], "netback") == 0) {
        printf("%d\n", fuzz_netback(fake_xen_word(word, words, 1), fake_xen_word(word, words, 2)));
    } else {
        return net_user_command(word, words);
    }
    return true;
}
