// SPDX-License-Identifier: MIT
// netfront by commands: probe; nic N ("mac mtu features dead"); rx N, rxret N COOKIE, tx N COOKIE CSUM GSO GSO_SIZE HDR_LEN
// CSUM_START CSUM_OFFSET LEN..., txret N, kick N, arm N, link N, stats N: netdev.h's verbs, as harness.c has them; fuzz SEED
// COUNT. The backend is worked from Python, through the grants and XenStore.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"
#include "netdev.h"

bool xen_extra_command(char **word, unsigned words);
int fuzz_netfront(unsigned long seed, unsigned long count); // xen_netfuzz.c

extern const hal_driver_t xen_netfront_driver;

enum { COOKIES = 4096 };
static void *rx_cookie[COOKIES];
static unsigned rx_cookies;
static uint8_t *tx_memory[COOKIES];

static void hex(const uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++) {
        printf("%02x", p[i]);
    }
}

static void cmd_rx(netdev_t *n) {
    netdev_frame_t f;
    int r = n->ops->rx_take(n, &f);
    printf("%d", r);
    if (r == 0) {
        rx_cookie[rx_cookies % COOKIES] = f.cookie;
        printf(" %u %d %u ", rx_cookies++ % COOKIES, f.csum_good, f.nsegs);
        for (unsigned i = 0; i < f.nsegs; i++) {
            hex(f.seg[i].base, f.seg[i].len);
        }
    }
    printf("\n");
}

// Each segment's bytes are those of the frame's pattern, in memory of their own that is wiped when the frame comes back.
static void cmd_tx(netdev_t *n, char **word, unsigned words) {
    uint64_t v[9];
    for (unsigned i = 2; i < 9; i++) {
        v[i] = fake_xen_word(word, words, i);
    }
    netdev_frame_t f = {.cookie = (void *)(uintptr_t)v[2],
                        .csum_needed = v[3] != 0,
                        .gso = (uint8_t)v[4],
                        .gso_size = (uint16_t)v[5],
                        .hdr_len = (uint16_t)v[6],
                        .csum_start = (uint16_t)v[7],
                        .csum_offset = (uint16_t)v[8]};
    size_t total = 0, at = 0;
    for (unsigned i = 9; i < words; i++) {
        total += fake_xen_word(word, words, i);
    }
    uint8_t *p = malloc(total + 1);
    for (size_t i = 0; i < total; i++) {
        p[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (unsigned i = 9; i < words; i++) {
        uint32_t len = (uint32_t)fake_xen_word(word, words, i);
        if (f.nsegs < NETDEV_MAX_SEGS) {
            f.seg[f.nsegs] = (netdev_seg_t){p + at, len};
        }
        f.nsegs++;
        at += len;
    }
    int r = n->ops->tx_provide(n, &f);
    tx_memory[v[2] % COOKIES] = r == 0 ? p : NULL;
    if (r != 0) {
        free(p);
    }
    printf("%d\n", r);
}

static void cmd_txret(netdev_t *n) {
    uintptr_t cookie = (uintptr_t)n->ops->tx_return(n);
    if (cookie != 0) {
        free(tx_memory[cookie % COOKIES]);
    }
    printf("%lu\n", (unsigned long)cookie);
}

static void cmd_stats(const netdev_t *n) {
    const netdev_stats_t *s = &n->stats;
    printf("%llu %llu %llu %llu %llu %llu %llu\n", (unsigned long long)s->rx_frames, (unsigned long long)s->rx_bytes,
           (unsigned long long)s->rx_dropped, (unsigned long long)s->tx_frames, (unsigned long long)s->tx_bytes,
           (unsigned long long)s->tx_full, (unsigned long long)s->kicks);
}

bool xen_extra_command(char **word, unsigned words) {
    const char *what = word[0];
    if (strcmp(what, "probe") == 0) {
        printf("%d\n", xen_netfront_driver.probe());
        return true;
    }
    if (strcmp(what, "fuzz") == 0) {
        printf("%d\n", fuzz_netfront(fake_xen_word(word, words, 1), fake_xen_word(word, words, 2)));
        return true;
    }
    netdev_t *n = netdev_get((unsigned)fake_xen_word(word, words, 1));
    if (n == NULL) {
        printf("none\n");
    } else if (strcmp(what, "nic") == 0) {
        hex(n->mac, 6);
        printf(" %u %u %d\n", n->mtu, n->features, n->dead);
    } else if (strcmp(what, "rx") == 0) {
        cmd_rx(n);
    } else if (strcmp(what, "rxret") == 0) {
        n->ops->rx_return(n, rx_cookie[fake_xen_word(word, words, 2)]);
    } else if (strcmp(what, "tx") == 0) {
        cmd_tx(n, word, words);
    } else if (strcmp(what, "txret") == 0) {
        cmd_txret(n);
    } else if (strcmp(what, "kick") == 0) {
        n->ops->kick(n);
    } else if (strcmp(what, "arm") == 0) {
        printf("%d\n", n->ops->arm(n));
    } else if (strcmp(what, "link") == 0) {
        printf("%d\n", n->ops->link_up(n));
    } else if (strcmp(what, "stats") == 0) {
        cmd_stats(n);
    } else {
        return false;
    }
    return true;
}
