// SPDX-License-Identifier: MIT
// Entropy device, virtio 1.2 clause 5.4: seeds the pool at boot and refreshes it now and then.
// Owns: one request buffer. Not here: the generator (port/hal/entropy.c).
// Context: main loop only. Probe waits for the first answer at most FIRST_NS, and only if the pool has no
// seed yet; an answer that comes later is taken by the event source.

#include <string.h>

#include "virtio.h"

enum { REQUEST_QUEUE = 0, BYTES = 64 }; // 5.4.2
#define FIRST_NS 2000000ull
#define REFRESH_NS 60000000000ull // asked for when something runs anyway: an idle VM is not woken for it

typedef struct {
    virtio_dev_t *v;
    virtq_t q;
    uint8_t *buf;
    uint64_t next; // when to ask again; UINT64_MAX while a request is out
} vrng_t;

static vrng_t rng;

static void request(vrng_t *g) {
    virtq_buf_t seg = {g->buf, BYTES};
    if (virtq_provide(&g->q, &seg, 0, 1, g->buf) == 0) {
        g->next = UINT64_MAX;
        virtio_kick(g->v, &g->q);
    }
}

static bool vrng_run(void *arg) {
    vrng_t *g = arg;
    void *cookie;
    uint32_t len;
    if (g->v->why != NULL) {
        return false;
    }
    int r = virtq_take(&g->q, &cookie, &len);
    if (r == -EIO) {
        virtio_fail(g->v, g->q.why, -EIO);
    }
    if (r == 0) {
        hal_entropy_noise(HAL_NOISE_DEVICE, g->buf, len);
        memset(g->buf, 0, BYTES);
        g->next = hal_clock_ns() + REFRESH_NS;
    } else if (r == -EAGAIN && g->next != UINT64_MAX && hal_clock_ns() >= g->next) {
        request(g);
    }
    return r == 0;
}

// No interrupt is asked for: nobody waits for these bytes.
static bool vrng_arm(void *arg) {
    vrng_t *g = arg;
    virtio_irq_service(g->v);
    return false;
}

static hal_event_source_t source = {.run = vrng_run, .arm = vrng_arm, .arg = &rng};

static int vrng_open(virtio_dev_t *v) {
    vrng_t *g = &rng;
    uint64_t offered = 0;
    g->v = v;
    int r = virtio_reset(v, &offered);
    if (r < 0 || (r = virtio_negotiate(v, offered & BIT64(VIRTIO_F_EVENT_IDX_BIT))) < 0 ||
        (r = virtio_queue_open(v, REQUEST_QUEUE, 1, &g->q)) < 0) {
        return r;
    }
    g->buf = hal_mem_dma(BYTES, BYTES);
    if (g->buf == NULL) {
        return virtio_fail(v, "no memory for a buffer", -ENOMEM);
    }
    virtio_start(v);
    request(g);
    uint8_t probe;
    uint64_t deadline = hal_clock_ns() + FIRST_NS;
    while (!hal_entropy_get(&probe, 1) && v->why == NULL && hal_clock_ns() < deadline) {
        vrng_run(g);
    }
    hal_event_add(&source);
    return v->why == NULL ? 1 : -EIO;
}

static int vrng_probe(void) {
    virtio_dev_t *v = virtio_next(VIRTIO_ID_RNG, NULL);
    return v == NULL ? 0 : vrng_open(v);
}

const hal_driver_t virtio_rng_driver = {"virtio-rng", vrng_probe};
