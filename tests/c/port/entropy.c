// SPDX-License-Identifier: MIT
// port/hal/entropy.c with its clock and the processor's words replaced. Commands: block KEY COUNTER; init;
// add HEX; get N; cpu SOURCE HEX: what RDSEED (0) or RDRAND (1) gives from now on; noise SOURCE HEX; copied.

#include "talk.h"

#include "hal/entropy.c"

static uint64_t fake_cycles, fake_wall;

uint64_t hal_clock_cycles(void) { return fake_cycles; }

uint64_t hal_clock_wall_ns(void) { return fake_wall; }

// What each instruction gives: nothing where it is not there.
static uint64_t cpu[2][CPU_WORDS];
static unsigned cpu_count[2];

unsigned hal_cpu_random(hal_noise_t source, uint64_t *out, unsigned n) {
    unsigned got = cpu_count[source] < n ? cpu_count[source] : n;
    memcpy(out, cpu[source], got * sizeof(*out));
    return got;
}

void hal_console_log(const void *data, size_t len) { fwrite(data, 1, len, stdout); }

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
    } else if (talk_is(t, "cpu")) {
        unsigned source = (unsigned)talk_number(t, 1);
        unsigned char *p = talk_bytes(t, 2, &len);
        memcpy(cpu[source], p, len);
        cpu_count[source] = (unsigned)(len / sizeof(uint64_t));
        free(p);
    } else if (talk_is(t, "noise")) {
        unsigned char *p = talk_bytes(t, 2, &len);
        hal_entropy_noise((hal_noise_t)talk_number(t, 1), p, len);
        free(p);
    } else if (talk_is(t, "copied")) {
        static const hal_identity_t same;
        entropy_copied(&same);
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
