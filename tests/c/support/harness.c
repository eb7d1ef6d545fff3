// SPDX-License-Identifier: MIT
// The drivers, the HAL's stand-in and the fake devices in one process, worked by commands on standard
// input, one a line: the driver's verbs, the device's deeds and the knobs. Each answers with lines and
// then a "." alone. harness.py is the other end.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_device.h"
#include "fake_hal.h"
#include "net_user.h"
#include "virtio.h"

enum { WORDS = 64, LINE = 300000 };

bool fake_event_arm(void);
uint64_t fake_event_left(void);
int fuzz_virtqueue(unsigned long seed, unsigned long count);
int fuzz_net(unsigned long seed, unsigned long count);
int fuzz_disk(unsigned long seed, unsigned long count);
bool disk_command(char **word, unsigned words); // disk.c
bool line_command(char **word, unsigned words); // line.c

extern const hal_driver_t virtio_net_driver, virtio_blk_driver, virtio_console_driver, virtio_rng_driver,
    virtio_family_driver;

static char *word[WORDS];
static unsigned words;
static virtq_t raw;
static fake_queue_t raw_device;

static long long num(unsigned i) {
    if (i >= words) {
        printf("harness: word %u is missing\n", i);
        exit(2);
    }
    return strtoll(word[i], NULL, 0);
}

static uint8_t *unhex(unsigned i, size_t *len) { // a missing word is no bytes
    const char *s = i < words ? word[i] : "";
    *len = strlen(s) / 2;
    uint8_t *p = malloc(*len + 1);
    for (size_t i = 0; i < *len; i++) {
        unsigned byte;
        sscanf(s + 2 * i, "%2x", &byte);
        p[i] = (uint8_t)byte;
    }
    return p;
}

static fake_device_t *device(unsigned i) { return &fake_device[num(i)]; }

static fake_queue_t *queue(unsigned i) {
    return strcmp(word[i], "raw") == 0 ? &raw_device : &device(i)->queue[num(i + 1)];
}

// ---- knobs -----------------------------------------------------------------------------------------

#define KNOB(name) {#name, offsetof(fake_device_t, name)}
#define QKNOB(name) {#name, offsetof(fake_queue_t, name)}
typedef struct {
    const char *name;
    size_t at;
} knob_t;
static const knob_t knobs[] = {
    KNOB(magic),
    KNOB(version),
    KNOB(type),
    KNOB(features),
    KNOB(driver_features),
    KNOB(status),
    KNOB(irq_status),
    KNOB(generation),
    KNOB(reset_stuck),
    KNOB(features_refused),
    KNOB(features_toggle),
    KNOB(generation_moves),
    KNOB(refuse_config_vector),
    KNOB(multiplier),
    KNOB(config_vector),
    KNOB(accesses),
    KNOB(resets),
    KNOB(space_reads),
    KNOB(bar_size[1]),
    KNOB(bar_size[4]),
    KNOB(bar_size[5]),
};
static const knob_t queue_knobs[] = {
    // named queueN.NAME
    QKNOB(max), QKNOB(size), QKNOB(ready), QKNOB(notified), QKNOB(notify_off), QKNOB(vector), QKNOB(refuse_vector),
};

static uint64_t *knob(fake_device_t *d, const char *name) {
    unsigned q;
    int at = 0;
    bool of_queue = sscanf(name, "queue%u.%n", &q, &at) == 1 && at > 0 && q < FAKE_QUEUES;
    uint8_t *base = of_queue ? (uint8_t *)&d->queue[q] : (uint8_t *)d;
    const knob_t *all = of_queue ? queue_knobs : knobs;
    unsigned count = of_queue ? HAL_ARRAY_LEN(queue_knobs) : HAL_ARRAY_LEN(knobs);
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(all[i].name, name + at) == 0) {
            return (uint64_t *)(base + all[i].at);
        }
    }
    printf("harness: no knob %s\n", name);
    exit(2);
}

static void cmd_dset(void) { *knob(device(1), word[2]) = strtoull(word[3], NULL, 0); }
static void cmd_dget(void) { printf("%llu\n", (unsigned long long)*knob(device(1), word[2])); }

// The host answers an entropy request while the driver waits.
static fake_device_t *rng_device;
static void answer_rng(void) {
    fake_chain_t c;
    if (rng_device->queue[0].notified > 0 && fake_next_chain(&rng_device->queue[0], &c)) {
        uint8_t seed[64];
        memset(seed, 0x5a, sizeof seed);
        fake_chain_write(&c, seed, sizeof seed);
        fake_used(&rng_device->queue[0], c.head, sizeof seed);
    }
}

static void cmd_clock(void) { printf("%llu\n", (unsigned long long)fake_hal.now); }

static void cmd_hal(void) {
    const char *k = word[1];
    if (strcmp(k, "mem_total") == 0) {
        fake_hal.mem_total = (size_t)num(2);
    } else if (strcmp(k, "dma_left") == 0) {
        fake_hal.dma_left = (int)num(2);
    } else if (strcmp(k, "irqs_left") == 0) {
        fake_hal.irqs_left = (int)num(2);
    } else if (strcmp(k, "seeded") == 0) {
        fake_hal.seeded = num(2) != 0;
    } else if (strcmp(k, "input_room") == 0) {
        fake_hal.input_room = (size_t)num(2);
    } else if (strcmp(k, "advance") == 0) {
        fake_hal.now += (uint64_t)num(2);
    } else if (strcmp(k, "irq") == 0) {
        fake_hal.pending |= BIT64(num(2));
    } else if (strcmp(k, "answer_rng") == 0) {
        rng_device = device(2);
        fake_hal.on_clock = answer_rng;
    } else if (strcmp(k, "cmdline") == 0) {
        char *text = calloc(1, 4096);
        for (unsigned i = 2; i < words; i++) {
            strcat(strcat(text, word[i]), " ");
        }
        fake_hal.cmdline = text;
    } else if (strcmp(k, "table") == 0) {
        for (unsigned i = 0; i < 3; i++) {
            fake_hal.table[i] = strtoull(word[2 + i], NULL, 0);
        }
    } else {
        printf("harness: no HAL knob %s\n", k);
        exit(2);
    }
}

// ---- the device's deeds ----------------------------------------------------------------------------

static void cmd_mmio(void) { fake_mmio_new((uint64_t)num(1), (uint32_t)num(2)), printf("%u\n", fake_device_count - 1); }
static void cmd_pci(void) { fake_pci_new((uint32_t)num(1)), printf("%u\n", fake_device_count - 1); }

static void store(uint8_t *base, size_t size) {
    size_t len;
    uint8_t *p = unhex(3, &len);
    if ((size_t)num(2) + len > size) {
        exit(2);
    }
    memcpy(base + num(2), p, len);
    free(p);
}

static void cmd_config(void) { store(device(1)->config, sizeof device(1)->config); }
static void cmd_space(void) { store(device(1)->space, sizeof device(1)->space); }
static void cmd_peek(void) { fake_hex(device(1)->space + num(2), (size_t)num(3)), printf("\n"); }
static void cmd_msix(void) { fake_hex(device(1)->msix, 48), printf("\n"); }

static fake_chain_t chains[FAKE_DEVICES + 1][FAKE_QUEUES][256];

static fake_chain_t *chain(uint32_t head) {
    bool is_raw = strcmp(word[1], "raw") == 0;
    return &chains[is_raw ? FAKE_DEVICES : num(1)][is_raw ? 0 : num(2)][head % 256];
}

static void cmd_next(void) {
    fake_chain_t c;
    if (!fake_next_chain(queue(1), &c)) {
        printf("none\n");
        return;
    }
    *chain(c.head) = c;
    printf("%u", c.head);
    for (unsigned i = 0; i < c.count; i++) {
        printf(" %c%u", c.seg[i].writable ? 'w' : 'r', c.seg[i].len);
    }
    printf("\n");
}

static void cmd_read(void) {
    const fake_chain_t *c = chain((uint32_t)num(3));
    for (unsigned i = 0; i < c->count; i++) {
        if (!c->seg[i].writable) {
            fake_hex(c->seg[i].base, c->seg[i].len);
        }
    }
    printf("\n");
}

// What lies in a buffer before the device writes it.
static void cmd_look(void) {
    const fake_chain_t *c = chain((uint32_t)num(3));
    for (unsigned i = 0; i < c->count; i++) {
        if (c->seg[i].writable) {
            fake_hex(c->seg[i].base, c->seg[i].len);
        }
    }
    printf("\n");
}

static void cmd_fill(void) {
    size_t len;
    uint8_t *p = unhex(4, &len);
    const fake_chain_t *c = chain((uint32_t)num(3));
    if (len > fake_chain_writable(c)) {
        exit(2);
    }
    fake_chain_write(c, p, len);
    free(p);
}

static void cmd_used(void) { fake_used(queue(1), (uint32_t)num(3), (uint32_t)num(4)); }
static void cmd_usedidx(void) { fake_set_used_idx(queue(1), (uint16_t)(queue(1)->used_idx + num(3))); }
static void cmd_availevent(void) { fake_avail_event(queue(1), (uint16_t)num(3)); }
static void cmd_nonotify(void) { *(uint16_t *)(uintptr_t)queue(1)->used = (uint16_t)num(3); }

static void cmd_wantirq(void) {
    const fake_queue_t *q = queue(1);
    printf("%d\n", fake_wants_irq(q, num(3) != 0, (uint16_t)(q->used_idx - num(4))));
}

// Overwrite everything that is the driver's to write, as a device that has gone mad can.
static void cmd_scribble(void) {
    const fake_queue_t *q = queue(1);
    memset((void *)(uintptr_t)q->desc, (int)num(3), 16 * q->size);
    memset((void *)(uintptr_t)q->avail, (int)num(3), 6 + 2 * q->size);
}

// ---- the queue by itself ---------------------------------------------------------------------------

static void cmd_q_init(void) {
    int r = virtq_init(&raw, 0, (uint32_t)num(1), num(2) != 0);
    raw_device = (fake_queue_t){
        .size = raw.size, .desc = (uintptr_t)raw.desc, .avail = (uintptr_t)raw.avail, .used = (uintptr_t)raw.used};
    printf("%d\n", r);
}

static void cmd_q_provide(void) { // OUT IN LEN COOKIE
    static uint8_t memory[65536];
    virtq_buf_t bufs[FAKE_SEGS];
    unsigned n = (unsigned)(num(1) + num(2));
    for (unsigned i = 0; i < n; i++) {
        bufs[i] = (virtq_buf_t){memory, (uint32_t)num(3)};
    }
    printf("%d\n", virtq_provide(&raw, bufs, (unsigned)num(1), (unsigned)num(2), (void *)(uintptr_t)num(4)));
}

static void cmd_q_take(void) {
    void *cookie = NULL;
    uint32_t len = 0;
    int r = virtq_take(&raw, &cookie, &len);
    printf("%d %llu %u\n", r, (unsigned long long)(uintptr_t)cookie, len);
}

// COUNT chains through the queue, two in flight, each taken before the next two. How many came back in order.
static void cmd_q_cycle(void) {
    static uint8_t memory[16];
    long long back = 0;
    for (long long i = 0; i < num(1); i += 2) {
        virtq_buf_t buf = {memory, sizeof memory};
        fake_chain_t c[2];
        for (int k = 0; k < 2; k++) {
            if (virtq_provide(&raw, &buf, 0, 1, (void *)(uintptr_t)(i + k + 1)) != 0 ||
                !fake_next_chain(&raw_device, &c[k])) {
                exit(2);
            }
        }
        for (int k = 0; k < 2; k++) {
            void *cookie;
            uint32_t len;
            fake_used(&raw_device, c[k].head, 7);
            back += virtq_take(&raw, &cookie, &len) == 0 && cookie == (void *)(uintptr_t)(i + k + 1) && len == 7;
        }
    }
    printf("%lld\n", back);
}

static void cmd_q_state(void) {
    printf("%u %u %s\n", raw.free_count, raw.outstanding, raw.why == NULL ? "alive" : raw.why);
}

static void cmd_q_kick(void) { printf("%d\n", virtq_kick_needed(&raw)); }
static void cmd_q_arm(void) { printf("%d\n", virtq_arm(&raw, (uint16_t)num(1))); }

// ---- drivers ---------------------------------------------------------------------------------------

static void cmd_probe(void) {
    const hal_driver_t *all[] = {&virtio_net_driver, &virtio_blk_driver, &virtio_console_driver, &virtio_rng_driver,
                                 &virtio_family_driver};
    for (unsigned i = 0; i < HAL_ARRAY_LEN(all); i++) {
        if (strcmp(all[i]->name, word[1]) == 0) {
            printf("%d\n", all[i]->probe());
            return;
        }
    }
    exit(2);
}

static void cmd_send(void) {
    size_t len;
    uint8_t *p = unhex(1, &len);
    printf("%zu\n", fake_hal.sink == NULL ? 0 : fake_hal.sink->send(fake_hal.sink->ctx, p, len));
    free(p);
}

static void cmd_idle(void) { printf("%d\n", fake_hal.sink->send_idle(fake_hal.sink->ctx)); }
static void cmd_run(void) { printf("%d\n", hal_event_run()); }
static void cmd_evarm(void) { printf("%d\n", fake_event_arm()); }
static void cmd_evleft(void) { printf("%llu\n", (unsigned long long)fake_event_left()); }

static void cmd_fuzz(void) {
    unsigned long seed = strtoul(word[2], NULL, 0), count = strtoul(word[3], NULL, 0);
    printf("%d\n", strcmp(word[1], "net") == 0    ? fuzz_net(seed, count)
                   : strcmp(word[1], "disk") == 0 ? fuzz_disk(seed, count)
                                                  : fuzz_virtqueue(seed, count));
}

// The sanitizers' own test: both must end the process.
static void cmd_overflow(void) {
    uint8_t *p = hal_mem_dma(64, 64);
    ((volatile uint8_t *)p)[num(1)] = 1;
}
static void cmd_shift(void) {
    volatile int bits = (int)num(1);
    printf("%d\n", 1 << bits);
}

static const struct {
    const char *name;
    void (*run)(void);
} commands[] = {
    {"hal", cmd_hal},
    {"clock", cmd_clock},
    {"mmio", cmd_mmio},
    {"pci", cmd_pci},
    {"dset", cmd_dset},
    {"dget", cmd_dget},
    {"config", cmd_config},
    {"space", cmd_space},
    {"peek", cmd_peek},
    {"msix", cmd_msix},
    {"next", cmd_next},
    {"read", cmd_read},
    {"look", cmd_look},
    {"fill", cmd_fill},
    {"used", cmd_used},
    {"usedidx", cmd_usedidx},
    {"availevent", cmd_availevent},
    {"nonotify", cmd_nonotify},
    {"wantirq", cmd_wantirq},
    {"scribble", cmd_scribble},
    {"q_init", cmd_q_init},
    {"q_provide", cmd_q_provide},
    {"q_take", cmd_q_take},
    {"q_state", cmd_q_state},
    {"q_kick", cmd_q_kick},
    {"q_cycle", cmd_q_cycle},
    {"q_arm", cmd_q_arm},
    {"probe", cmd_probe},
    {"send", cmd_send},
    {"idle", cmd_idle},
    {"run", cmd_run},
    {"evarm", cmd_evarm},
    {"evleft", cmd_evleft},
    {"fuzz", cmd_fuzz},
    {"overflow", cmd_overflow},
    {"shift", cmd_shift},
};

static void execute(void) {
    for (unsigned i = 0; i < HAL_ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, word[0]) == 0) {
            commands[i].run();
            return;
        }
    }
    if (disk_command(word, words) || line_command(word, words) || net_user_command(word, words)) {
        return;
    }
    printf("harness: no command %s\n", word[0]);
    exit(2);
}

int main(void) {
    static char line[LINE];
    while (fgets(line, sizeof line, stdin) != NULL) {
        words = 0;
        for (char *w = strtok(line, " \n"); w != NULL && words < WORDS; w = strtok(NULL, " \n")) {
            word[words++] = w;
        }
        if (words > 0) {
            execute();
        }
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
