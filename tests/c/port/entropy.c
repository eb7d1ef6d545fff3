// SPDX-License-Identifier: MIT
// port/hal/entropy.c with its clock and CPUID replaced. Commands: block KEY COUNTER; init; add HEX; get N.

#include "talk.h"

#include "hal/entropy.c"

static uint64_t fake_cycles, fake_wall;

uint64_t hal_clock_cycles(void) { return fake_cycles; }

uint64_t hal_clock_wall_ns(void) { return fake_wall; }

void hal_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
    (void)leaf;
    (void)subleaf;
    memset(out, 0, 16); // a processor without RDSEED and RDRAND
}

static void command(const talk_t *t) {
    size_t len;
    if (talk_is(t, "block")) {
        unsigned char *k = talk_bytes(t, 1, &len);
        uint32_t out[16];
        memcpy(key, k, KEY_BYTES);
        free(k);
        counter = talk_number(t, 2);
        block(out);
        talk_print_bytes(out, sizeof(out));
    } else if (talk_is(t, "init")) {
        fake_cycles = talk_number(t, 1);
        fake_wall = talk_number(t, 2);
        hal_entropy_init();
    } else if (talk_is(t, "add")) {
        unsigned char *p = talk_bytes(t, 1, &len);
        hal_entropy_add(p, len);
        free(p);
    } else if (talk_is(t, "get")) {
        len = (size_t)talk_number(t, 1);
        unsigned char *p = malloc(len > 0 ? len : 1);
        memset(p, 0xaa, len);
        printf("%d\n", hal_entropy_get(p, len));
        talk_print_bytes(p, len);
        free(p);
    } else if (talk_is(t, "key")) {
        talk_print_bytes(key, sizeof(key));
    }
}

int main(void) { return talk(command); }
