// SPDX-License-Identifier: MIT
// port/hal/cmdline.c. Commands: set HEX; get; values KEY SIZE (each value's full length and its bytes).

#include "talk.h"

#include "hal/cmdline.c"

char boot_cmdline[BOOT_CMDLINE_MAX];

static void command(const talk_t *t) {
    size_t len;
    if (talk_is(t, "set")) {
        unsigned char *p = talk_bytes(t, 1, &len);
        memset(boot_cmdline, 0, sizeof(boot_cmdline));
        memcpy(boot_cmdline, p, len);
        free(p);
    } else if (talk_is(t, "get")) {
        talk_print_bytes(hal_cmdline(), strlen(hal_cmdline()));
    } else if (talk_is(t, "values")) {
        size_t size = talk_number(t, 2), pos = 0;
        char *out = malloc(size);
        int n;
        while ((n = hal_cmdline_next(t->word[1], &pos, out, size)) >= 0) {
            printf("%d ", n);
            talk_print_bytes(out, strlen(out));
        }
        printf("end %d\n", n);
        free(out);
    }
}

int main(void) { return talk(command); }
