// SPDX-License-Identifier: MIT
// A program that sets a device up by hand, and has it write where ring 3 may not: random bytes into text. Says what
// stands there afterwards, and where ring 3 may write, for comparison.

#include "../../../modules/virtio/virtio.h"
#include "guest.h"

enum { BYTES = 64 };
#define ANSWER_NS 500000000ull

static uint8_t before[BYTES];

static const char *written(virtio_dev_t *v, uint8_t *to) {
    virtq_t q;
    uint64_t offered;
    uint32_t len;
    void *cookie;
    memcpy(before, to, BYTES);
    if (virtio_reset(v, &offered) < 0 || virtio_negotiate(v, 0) < 0 || virtio_queue_open(v, 0, 1, &q) < 0) {
        return "no device";
    }
    virtio_start(v);
    virtq_buf_t segment = {to, BYTES};
    virtq_provide(&q, &segment, 0, 1, to);
    virtio_kick(v, &q);
    for (uint64_t end = hal_clock_ns() + ANSWER_NS; virtq_take(&q, &cookie, &len) != 0 && hal_clock_ns() < end;) {
    }
    return memcmp(before, to, BYTES) == 0 ? "as it was" : "overwritten";
}

int main(void) {
    virtio_dev_t *v = virtio_next(VIRTIO_ID_RNG, NULL);
    if (v == NULL) {
        say("no device\n");
        hal_exit(1);
    }
    say("data %s\n", written(v, hal_mem_dma(BYTES, BYTES)));
    say("text %s\n", written(v, (uint8_t *)link_rodata - BYTES));
    hal_exit(0);
}
