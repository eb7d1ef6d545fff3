// SPDX-License-Identifier: MIT
// hal.h for a node of the simulation: clock, memory, chance and sleep are the world's (sim.h). port/hal/events.c stands
// over it as it is. Owns interrupts. Not here: devices (device.c), programs (server.c, client.c).

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "lwip/stats.h"
#include "netglue.h"
#include "netmem.h"
#include "netstack.h"
#include "sock.h"

enum { NET_GSI = 5, DISK_GSI = 6, IRQS = 2, QUIET_MS = 130000, SPIN_MAX = 3000000 };

const sim_host_t *sim_host;
const sim_start_t *sim_start;
fake_hal_t fake_hal;
static char cmdline[512];
static unsigned irq_gsi[IRQS], irqs;
static bool irq_pending[IRQS];
static uint64_t timer = UINT64_MAX;
static unsigned looks; // at the clock, since the last halt

extern const hal_driver_t virtio_net_driver, virtio_blk_driver;

// ---- what programs use --------------------------------------------------------------------------

_Noreturn void sim_broken(const char *fmt, ...) {
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_host->broken(sim_host->ctx, text);
}

uint32_t sim_below(uint32_t n) { return sim_host->below(sim_host->ctx, n); }
void sim_note(const char *what, uint64_t a, uint64_t b) { sim_host->note(sim_host->ctx, what, a, b); }
sim_phase_t sim_phase(void) { return sim_host->phase(sim_host->ctx); }

// ---- hal.h --------------------------------------------------------------------------------------

void sim_point(void) { sim_host->point(sim_host->ctx); }

uintptr_t hal_ram_offset; // the devices here see what the drivers see
uint64_t hal_clock_ns(void) {
    if (++looks > SPIN_MAX) {
        sim_broken("it runs on and never halts");
    }
    return sim_host->clock(sim_host->ctx);
}
uint64_t hal_clock_wall_ns(void) { return hal_clock_ns(); }
uint64_t hal_clock_cycles(void) { return hal_clock_ns(); }
size_t hal_mem_total(void) { return sim_start->ram; }
size_t hal_mem_free(void) { return sim_start->ram; }

void *hal_mem_dma(size_t bytes, size_t align) {
    void *p = sim_host->alloc(sim_host->ctx, bytes, align);
    return p == NULL ? NULL : memset(p, 0, bytes);
}

void *sim_malloc(size_t size) { return sim_host->alloc(sim_host->ctx, size, 16); }
void *sim_calloc(size_t n, size_t size) {
    void *p = sim_malloc(n * size);
    return p == NULL ? NULL : memset(p, 0, n * size);
}
void sim_free(void *p) { sim_host->release(sim_host->ctx, p); }

bool hal_entropy_get(void *out, size_t len) {
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = (uint8_t)sim_below(256);
    }
    return true;
}

// For virtio's first register layout, which no device here has.
uint64_t fake_hal_dma_find(uint64_t low, uint64_t mask) {
    (void)low, (void)mask;
    return 0;
}

void hal_entropy_add(const void *data, size_t len) { (void)data, (void)len; }
// Weak: a server of Python has port/hal/console.c.
__attribute__((weak)) void hal_console_log(const void *data, size_t len) { sim_host->log(sim_host->ctx, data, len); }
bool hal_virtio_mmio(unsigned n, uint64_t *base, uint64_t *size, uint64_t *gsi) {
    (void)n, (void)base, (void)size, (void)gsi;
    return false;
}

_Noreturn void hal_panic(const char *fmt, ...) {
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_broken("PANIC: %s", text);
}

const char *hal_cmdline(void) { return cmdline; }

int hal_cmdline_next(const char *key, size_t *pos, char *out, size_t size) {
    size_t key_len = strlen(key);
    for (;;) {
        const char *word = cmdline + *pos;
        word += strspn(word, " ");
        size_t len = strcspn(word, " ");
        if (len == 0) {
            return -ENOENT;
        }
        *pos = (size_t)(word - cmdline) + len;
        if (len > key_len && strncmp(word, key, key_len) == 0 && word[key_len] == '=') {
            size_t n = len - key_len - 1;
            snprintf(out, size, "%.*s", (int)n, word + key_len + 1);
            return (int)n;
        }
    }
}

int hal_irq_gsi(unsigned gsi) {
    hal_assert(irqs < IRQS);
    irq_gsi[irqs] = gsi;
    return (int)irqs++;
}
int hal_irq_msi(uint64_t *addr, uint32_t *data) {
    (void)addr, (void)data;
    return -ENOSPC;
}
bool hal_irq_take(int irq) {
    bool was = irq_pending[irq];
    irq_pending[irq] = false;
    return was;
}
void hal_irq_timer(uint64_t deadline_ns) { timer = deadline_ns; }
void hal_irq_halt(void) {
    looks = 0;
    sim_host->halt(sim_host->ctx, timer);
}

void sim_raise(unsigned device) {
    for (unsigned i = 0; i < irqs; i++) {
        irq_pending[i] |= irq_gsi[i] == (device == SIM_NET ? NET_GSI : DISK_GSI);
    }
    sim_host->wake(sim_host->ctx);
}

// ---- a life -------------------------------------------------------------------------------------

void sim_nothing_left(void) {
    uint64_t end = hal_clock_ns() + QUIET_MS * 1000000ull;
    while (hal_clock_ns() < end) {
        hal_event_wait(end);
    }
    netglue_t *g = netglue_get(0);
    unsigned pcbs = lwip_stats.memp[MEMP_TCP_PCB]->used, segs = lwip_stats.memp[MEMP_TCP_SEG]->used;
    if (pcbs > 0 || segs > 0) {
        sim_broken("memory is kept: %u connections, %u segments", pcbs, segs);
    }
    if (g->rx_held > 0 || g->tx.count > 0) {
        sim_broken("buffers are kept: %u received, %u to be sent", g->rx_held, g->tx.count);
    }
    if (netmem_used() >= 16384 + g->rx_held_max * 2 * sizeof(struct pbuf_custom)) {
        sim_broken("the stack keeps %zu bytes", netmem_used());
    }
    size_t socks = sim_host->live(sim_host->ctx, sizeof(sock_t));
    if (socks > 0) {
        sim_broken("%zu sockets are kept", socks);
    }
}

static void node_main(const sim_host_t *host, const sim_start_t *start) {
    sim_host = host;
    sim_start = start;
    unsigned last = start->index + 1;
    snprintf(
        cmdline, sizeof cmdline,
        "virtio_mmio.device=512@0xfeb00000:%d virtio_mmio.device=512@0xfeb00200:%d ip=10.0.0.%u/24 ip6=fd00::%u/64 %s",
        NET_GSI, DISK_GSI, last, last, start->index == 0 ? sim_words : "");
    sim_device_start();
    hal_assert(virtio_net_driver.probe() == 1);
    hal_assert(start->index != 0 || virtio_blk_driver.probe() == 1);
    netstack_start();
    start->index == 0 ? sim_server() : sim_client();
}

__attribute__((visibility("default"))) const sim_node_t sim_node = {
    .serves = sim_serves,
    .main = node_main,
    .receive = sim_receive,
    .work = sim_work,
    .disk_done = sim_disk_done,
};
