// SPDX-License-Identifier: MIT
// port/hal/copied.c, with two hooks of its own. Commands: read HEX (an identity's lines: the result, and what was
// read); became HEX (which hooks were called, in order).

#include "talk.h"

#include "hal/copied.c"

static void above(const hal_identity_t *id) { printf("above %d\n", (int)id->pid); }
HAL_COPIED(HAL_COPIED_ABOVE, above);

static void machine(const hal_identity_t *id) { printf("machine %d\n", (int)id->pid); }
HAL_COPIED(HAL_COPIED_MACHINE, machine);

static void print(const hal_identity_t *id) {
    printf("pid %d ppid %d wall %llu name [%s]\n", (int)id->pid, (int)id->ppid, (unsigned long long)id->wall_ns,
           id->name);
    talk_print_bytes(id->seed, sizeof(id->seed));
    for (unsigned i = 0; i < HAL_CARDS_MAX; i++) {
        if (id->card[i].has_mac || id->card[i].ip[0] != '\0') {
            printf("card %u %d [%s] [%s] ", i, id->card[i].has_mac, id->card[i].ip, id->card[i].ip6);
            talk_print_bytes(id->card[i].mac, HAL_MAC_LEN);
        }
    }
}

static void command(const talk_t *t) {
    hal_identity_t id;
    size_t len;
    unsigned char *text = talk_bytes(t, 1, &len);
    int r = hal_copied_read(&id, (const char *)text, len);
    free(text);
    if (talk_is(t, "read")) {
        printf("%d\n", r);
        if (r == 0) {
            print(&id);
        }
    } else if (talk_is(t, "became") && r == 0) {
        hal_copied_became(&id);
    }
}

int main(void) { return talk(command); }
