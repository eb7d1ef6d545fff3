// SPDX-License-Identifier: MIT
// Who uses a network card: takes frames and gives them back, queues frames and frees them when they come back. Knows no
// driver. Context: host, sanitizers on.

#include "net_user.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"

enum { COOKIES = 4096 };

static char **word; // of the command
static unsigned words;
static netdev_t *nic; // that it names
static void *rx_cookie[COOKIES];
static unsigned rx_cookies;
static uint8_t *tx_memory[COOKIES];

static uint64_t num(unsigned i) {
    if (i >= words) {
        printf("harness: word %u is missing\n", i);
        exit(2);
    }
    return strtoull(word[i], NULL, 0);
}

static void cmd_rx(void) {
    netdev_frame_t f;
    int r = nic->ops->rx_take(nic, &f);
    printf("%d", r);
    if (r == 0) {
        rx_cookie[rx_cookies % COOKIES] = f.cookie;
        printf(" %u %d %u ", rx_cookies++ % COOKIES, f.csum_good, f.nsegs);
        for (unsigned i = 0; i < f.nsegs; i++) {
            fake_hex(f.seg[i].base, f.seg[i].len);
        }
        printf(" %d %u %u %u %u", f.csum_needed, f.csum_start, f.csum_offset, f.gso, f.gso_size);
        printf(" %u", f.headroom);
    }
    printf("\n");
}

// Take a frame and queue it again as it lies there, as a router does; the frame is given back with rxret.
static void cmd_pass(void) {
    netdev_frame_t f;
    int r = nic->ops->rx_take(nic, &f);
    if (r == 0) {
        rx_cookie[rx_cookies++ % COOKIES] = f.cookie;
        f.cookie = (void *)(uintptr_t)num(2);
        r = nic->ops->tx_provide(nic, &f);
    }
    printf("%d\n", r);
}

static void cmd_wanted(void) { nic->tx_wanted = num(2) != 0; }
static void cmd_rxret(void) { nic->ops->rx_return(nic, rx_cookie[num(2) % COOKIES]); }

// The frame's bytes are pattern()'s of netuser.py, in a heap block of their own for as long as the driver has them.
static void cmd_tx(void) {
    netdev_frame_t f = {.cookie = (void *)(uintptr_t)num(2),
                        .csum_needed = num(3) != 0,
                        .gso = (uint8_t)num(4),
                        .gso_size = (uint16_t)num(5),
                        .hdr_len = (uint16_t)num(6),
                        .csum_start = (uint16_t)num(7),
                        .csum_offset = (uint16_t)num(8)};
    size_t total = 0, at = 0;
    for (unsigned i = 9; i < words; i++) {
        total += num(i);
    }
    uint8_t *p = malloc(total + 1);
    for (size_t i = 0; i < total; i++) {
        p[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (unsigned i = 9; i < words; i++) {
        if (f.nsegs < NETDEV_MAX_SEGS) {
            f.seg[f.nsegs] = (netdev_seg_t){p + at, (uint32_t)num(i)};
        }
        f.nsegs++;
        at += num(i);
    }
    int r = nic->ops->tx_provide(nic, &f);
    tx_memory[num(2) % COOKIES] = r == 0 ? p : NULL;
    if (r != 0) {
        free(p);
    }
    printf("%d\n", r);
}

static void cmd_txret(void) {
    uintptr_t cookie = (uintptr_t)nic->ops->tx_return(nic);
    if (cookie != 0) {
        free(tx_memory[cookie % COOKIES]);
    }
    printf("%lu\n", (unsigned long)cookie);
}

static void cmd_kick(void) { nic->ops->kick(nic); }
static void cmd_arm(void) { printf("%d\n", nic->ops->arm(nic)); }
static void cmd_link(void) { printf("%d\n", nic->ops->link_up(nic)); }

static void cmd_nic(void) {
    fake_hex(nic->mac, 6);
    printf(" %u %u %d\n", nic->mtu, nic->features, nic->dead);
}

static void cmd_told(void) { printf("%u\n", nic->rx_buffers); }

static void cmd_stats(void) {
    const netdev_stats_t *s = &nic->stats;
    printf("%llu %llu %llu %llu %llu %llu %llu\n", (unsigned long long)s->rx_frames, (unsigned long long)s->rx_bytes,
           (unsigned long long)s->rx_dropped, (unsigned long long)s->tx_frames, (unsigned long long)s->tx_bytes,
           (unsigned long long)s->tx_full, (unsigned long long)s->kicks);
}

static const struct {
    const char *name;
    void (*run)(void);
} commands[] = {
    {"rx", cmd_rx},       {"rxret", cmd_rxret}, {"tx", cmd_tx},     {"txret", cmd_txret},
    {"kick", cmd_kick},   {"arm", cmd_arm},     {"link", cmd_link}, {"nic", cmd_nic},
    {"stats", cmd_stats}, {"told", cmd_told},   {"pass", cmd_pass}, {"wanted", cmd_wanted},
};

bool net_user_command(char **w, unsigned count) {
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, w[0]) == 0) {
            word = w;
            words = count;
            nic = netdev_get((unsigned)num(1));
            nic == NULL ? (void)printf("none\n") : commands[i].run();
            return true;
        }
    }
    return false;
}
