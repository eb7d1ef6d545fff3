// SPDX-License-Identifier: MIT
// xen_family.c by commands: probe; line ... (support/line.c); from N: both rings' indices, as if so many bytes had gone
// through them. The client's side is what the fake Xen's commands do with the granted pages.

#include <stdio.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"

#include "xen_family.c"

bool xen_extra_command(char **word, unsigned words);
bool line_command(char **word, unsigned words);

bool xen_extra_command(char **word, unsigned words) {
    if (strcmp(word[0], "probe") == 0) {
        printf("%d\n", xen_family_driver.probe());
    } else if (strcmp(word[0], "from") == 0) {
        uint32_t at = (uint32_t)fake_xen_word(word, words, 1);
        fam.in_cons = fam.out_prod = at;
        fam.shared->in_cons = fam.shared->in_prod = fam.shared->out_cons = fam.shared->out_prod = at;
    } else {
        return line_command(word, words);
    }
    return true;
}
