// SPDX-License-Identifier: MIT
// port/hal/mem.c over RAM that is only numbers. Commands: ram START END; sbrk N; take BYTES ALIGN RESERVE; dma BYTES
// ALIGN; return ADDR BYTES; largest RESERVE; free; used; clear
// BYTES, of 64 that are not 0, from the ninth on: where those that are 0 begin and end.

#include "talk.h"

#include "hal/internal.h"
#define hal_clear(p, bytes) ((void)(bytes))
#include "hal/mem.c"
#undef hal_clear

boot_ram_t boot_ram[BOOT_RAM_MAX];
unsigned boot_ram_count;
uint64_t boot_ram_total;

static void command(const talk_t *t) {
    if (talk_is(t, "ram")) {
        boot_ram[boot_ram_count++] = (boot_ram_t){talk_number(t, 1), talk_number(t, 2)};
    } else if (talk_is(t, "sbrk")) {
        printf("%ld\n", (long)hal_mem_sbrk((ptrdiff_t)strtoll(t->word[1], NULL, 0)));
    } else if (talk_is(t, "take")) {
        printf("%ld\n", (long)hal_mem_take(talk_number(t, 1), talk_number(t, 2), talk_number(t, 3)));
    } else if (talk_is(t, "dma")) {
        printf("%ld\n", (long)hal_mem_dma(talk_number(t, 1), talk_number(t, 2)));
    } else if (talk_is(t, "return")) {
        printf("%d\n", hal_mem_return((void *)talk_number(t, 1), talk_number(t, 2)));
    } else if (talk_is(t, "largest")) {
        printf("%zu\n", hal_mem_largest(talk_number(t, 1)));
    } else if (talk_is(t, "free")) {
        printf("%zu\n", hal_mem_free());
    } else if (talk_is(t, "used")) {
        printf("%zu\n", hal_mem_sbrk_used());
    } else if (talk_is(t, "clear")) {
        char bytes[64];
        memset(bytes, 0xff, sizeof(bytes));
        hal_clear(bytes + 8, talk_number(t, 1));
        const char *first = memchr(bytes, 0, sizeof(bytes)), *end = first;
        while (end != NULL && end < bytes + sizeof(bytes) && *end == 0) {
            end++;
        }
        bool more = end != NULL && memchr(end, 0, (size_t)(bytes + sizeof(bytes) - end)) != NULL;
        printf("%td %td %d\n", first != NULL ? first - bytes : 0, end != NULL ? end - bytes : 0, more);
    }
}

int main(void) { return talk(command); }
