// SPDX-License-Identifier: MIT
// modules/http/httpkey.c. Command: key HEX (bytes of a head): its key in hexadecimal, or "none".

#include "talk.h"

#include "../../modules/http/httpkey.c"

static void command(const talk_t *t) {
    size_t size;
    uint8_t *head = talk_bytes(t, 1, &size); // ends where the block does
    uint8_t *key = malloc(HTTPKEY_MAX);
    size_t used = httpkey_make(head, size, key);
    if (used == 0) {
        printf("none\n");
    } else {
        talk_print_bytes(key, used);
    }
    free(key);
    free(head);
}

int main(void) { return talk(command); }
