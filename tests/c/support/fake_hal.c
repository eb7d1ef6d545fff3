// SPDX-License-Identifier: MIT
// The HAL's stand-in for host tests. What the code under test prints or passes on appears on standard
// output as a line: LOG, INPUT, ENTROPY. Each DMA allocation is a heap block of its own, so that
// AddressSanitizer sees any access beyond it.

#include "fake_hal.h"

#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fake_hal_t fake_hal = {.cmdline = "", .mem_total = 64u << 20, .dma_left = -1, .irqs_left = -1, .input_room = 4096};

static hal_event_source_t *sources;

void fake_hex(const void *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        printf("%02x", ((const uint8_t *)data)[i]);
    }
}

static void print_bytes(const char *tag, const void *data, size_t len) {
    printf("%s ", tag);
    fake_hex(data, len);
    printf("\n");
}

uint64_t hal_clock_ns(void) {
    if (fake_hal.on_clock != NULL) {
        fake_hal.on_clock();
    }
    return fake_hal.now += 1000;
}

void hal_panic(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    printf("PANIC ");
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    fflush(stdout);
    _Exit(120);
}

enum { DMA_KEPT = 8 };    // a power of two
uintptr_t hal_ram_offset; // devices see the host's addresses
static uintptr_t dma[DMA_KEPT];
static unsigned dma_count;

void *hal_mem_dma(size_t bytes, size_t align) {
    if (fake_hal.dma_left == 0) {
        return NULL;
    }
    fake_hal.dma_left -= fake_hal.dma_left > 0;
    align = align < sizeof(void *) ? sizeof(void *) : align;
    size_t before =
        (bytes + align - 1) / align * align; // as much that is nobody's: a slip of a whole size is seen, too
    void *p = NULL;
    if (posix_memalign(&p, align, before + bytes) != 0) {
        abort();
    }
    ASAN_POISON_MEMORY_REGION(p, before);
    p = (uint8_t *)p + before;
    dma[dma_count++ % DMA_KEPT] = (uintptr_t)p;
    return memset(p, 0, bytes);
}

uint64_t fake_hal_dma_find(uint64_t low, uint64_t mask) {
    for (unsigned i = 1; i <= DMA_KEPT; i++) {
        uint64_t at = dma[(dma_count - i) % DMA_KEPT];
        if (at != 0 && (at & mask) == low) {
            return at;
        }
    }
    return 0;
}

size_t hal_mem_total(void) { return fake_hal.mem_total; }
size_t hal_mem_free(void) { return fake_hal.mem_total; }

bool hal_virtio_mmio(unsigned n, uint64_t *base, uint64_t *size, uint64_t *gsi) {
    *size = fake_hal.table[0];
    *base = fake_hal.table[1];
    *gsi = fake_hal.table[2];
    return n == 0 && *size != 0;
}

int hal_cmdline_next(const char *key, size_t *pos, char *out, size_t size) {
    size_t key_len = strlen(key);
    for (;;) {
        const char *word = fake_hal.cmdline + *pos;
        word += strspn(word, " ");
        size_t len = strcspn(word, " ");
        if (len == 0) {
            return -ENOENT;
        }
        *pos = (size_t)(word - fake_hal.cmdline) + len;
        if (len > key_len && strncmp(word, key, key_len) == 0 && word[key_len] == '=') {
            size_t n = len - key_len - 1;
            snprintf(out, size, "%.*s", (int)n, word + key_len + 1);
            return (int)n;
        }
    }
}

static int fresh_irq(unsigned gsi) {
    if (fake_hal.irqs_left == 0 || fake_hal.irqs == HAL_IRQ_MAX) {
        return -ENOSPC;
    }
    fake_hal.irqs_left -= fake_hal.irqs_left > 0;
    fake_hal.gsi[fake_hal.irqs] = gsi;
    return fake_hal.irqs++;
}

int hal_irq_gsi(unsigned gsi) { return gsi < 24 ? fresh_irq(gsi) : -ENODEV; }

int hal_irq_msi(uint64_t *addr, uint32_t *data) {
    int irq = fresh_irq(0);
    *addr = 0xfee00000;
    *data = 0x40u + (uint32_t)irq;
    return irq;
}

bool hal_irq_take(int irq) {
    hal_assert(irq >= 0 && irq < fake_hal.irqs);
    bool was = (fake_hal.pending & BIT64(irq)) != 0;
    fake_hal.pending &= ~BIT64(irq);
    return was;
}

void hal_event_add(hal_event_source_t *s) {
    s->next = sources;
    sources = s;
}

bool hal_event_run(void) {
    bool any = false;
    for (hal_event_source_t *s = sources; s != NULL; s = s->next) {
        any |= s->run(s->arg);
    }
    return any;
}

// What hal_event_wait() asks before it halts.
bool fake_event_arm(void);
bool fake_event_arm(void) {
    bool work = false;
    for (hal_event_source_t *s = sources; s != NULL; s = s->next) {
        work |= s->arm != NULL && s->arm(s->arg);
    }
    return work;
}

// A halt that nobody ends lasts a millisecond; what the host does meanwhile is on_clock's.
void hal_event_wait(uint64_t deadline_ns) {
    if (!hal_event_run() && !fake_event_arm() && deadline_ns > fake_hal.now) {
        fake_hal.now += deadline_ns - fake_hal.now < 1000000 ? deadline_ns - fake_hal.now : 1000000;
        hal_clock_ns();
    }
}

// How long it would halt at most; UINT64_MAX: for ever.
uint64_t fake_event_left(void);
uint64_t fake_event_left(void) {
    uint64_t deadline = UINT64_MAX;
    for (hal_event_source_t *s = sources; s != NULL; s = s->next) {
        uint64_t d = s->deadline == NULL ? UINT64_MAX : s->deadline(s->arg);
        deadline = d < deadline ? d : deadline;
    }
    return deadline == UINT64_MAX || deadline < fake_hal.now ? deadline : deadline - fake_hal.now;
}

void hal_entropy_add(const void *data, size_t len) {
    print_bytes("ENTROPY", data, len);
    fake_hal.entropy_bytes += len;
    fake_hal.seeded = fake_hal.seeded || len >= 16;
}

void hal_entropy_noise(hal_noise_t source, const void *data, size_t len) {
    (void)source;
    hal_entropy_add(data, len);
}

bool hal_entropy_get(void *out, size_t len) {
    memset(out, fake_hal.seeded ? 0xa5 : 0, len);
    return fake_hal.seeded;
}

void hal_console_log(const void *data, size_t len) {
    printf("LOG %.*s", (int)len, (const char *)data);
    if (len == 0 || ((const char *)data)[len - 1] != '\n') {
        printf("\n");
    }
}

size_t hal_console_input(const void *data, size_t len) {
    size_t n = len < fake_hal.input_room ? len : fake_hal.input_room;
    fake_hal.input_room -= n;
    if (n > 0) {
        print_bytes("INPUT", data, n);
    }
    return n;
}

size_t hal_console_input_room(void) { return fake_hal.input_room; }

void hal_console_attach(const hal_console_sink_t *sink) {
    printf("ATTACH %s\n", sink == NULL ? "uart" : "sink");
    fake_hal.sink = sink;
}
