// SPDX-License-Identifier: MIT
// port/hal/spans.c by a clock that is told. Commands: begin KIND NS; end NS (what they return); table (how many slots,
// how many spans are over, and each slot, as a host finds them by the table).

#include "talk.h"

#include "hal/spans.c"

static uint64_t now;
uint64_t hal_clock_ns(void) { return now; }

static void command(const talk_t *t) {
    if (talk_is(t, "begin")) {
        now = talk_number(t, 2);
        printf("%llu\n", (unsigned long long)hal_span_begin((hal_span_kind_t)talk_number(t, 1)));
    } else if (talk_is(t, "end")) {
        now = talk_number(t, 1);
        printf("%llu\n", (unsigned long long)hal_span_end());
    } else if (talk_is(t, "table")) {
        const uint64_t *ring = (const uint64_t *)hal_span_vitals[0], *done = (const uint64_t *)hal_span_vitals[1];
        printf("%llu %llu\n", (unsigned long long)hal_span_vitals[2], (unsigned long long)*done);
        for (uint64_t i = 0; i < hal_span_vitals[2]; i++) {
            printf("%llu %llu\n", (unsigned long long)ring[2 * i], (unsigned long long)ring[2 * i + 1]);
        }
    } else {
        abort();
    }
}

int main(void) { return talk(command); }
