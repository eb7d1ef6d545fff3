// SPDX-License-Identifier: MIT
// port/libc/fortify.c over the host's C library. Command: FUNCTION SOURCE LENGTH ROOM: write so many bytes, or the
// string of SOURCE, to a heap block of ROOM bytes that holds "ab" if it can. Answers with what the block holds then.

#include "talk.h"

#include "libc/fortify.c"

TALK_PANIC(exit(120))

static void command(const talk_t *t) {
    const char *from = t->word[1];
    size_t n = talk_number(t, 2), room = talk_number(t, 3);
    char *to = calloc(1, room);
    memcpy(to, "ab", room > 2 ? 2 : 0);
    if (talk_is(t, "memcpy")) {
        __memcpy_chk(to, from, n, room);
    } else if (talk_is(t, "memmove")) {
        __memmove_chk(to, from, n, room);
    } else if (talk_is(t, "memset")) {
        __memset_chk(to, from[0], n, room);
    } else if (talk_is(t, "strcpy")) {
        __strcpy_chk(to, from, room);
    } else if (talk_is(t, "strncpy")) {
        __strncpy_chk(to, from, n, room);
    } else if (talk_is(t, "strcat")) {
        __strcat_chk(to, from, room);
    } else if (talk_is(t, "snprintf")) {
        __snprintf_chk(to, n, 0, room, "%s", from);
    } else {
        abort();
    }
    talk_print_bytes(to, room);
    free(to);
}

int main(void) { return talk(command); }
