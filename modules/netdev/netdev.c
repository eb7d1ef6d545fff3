// SPDX-License-Identifier: MIT
// The list of network devices. Owns the list, not the devices. Context: main loop.

#include "netdev.h"

#include <errno.h>
#include <stddef.h>

enum { TOLD_MAX = 64 }; // more gains nothing: what is not kept is copied

static netdev_t *netdev_list[NETDEV_MAX];
static unsigned netdev_count;

int netdev_register(netdev_t *n) {
    if (netdev_count == NETDEV_MAX) {
        return -ENOSPC;
    }
    netdev_list[netdev_count++] = n;
    return 0;
}

uint16_t netdev_rx_share(uint32_t buffers, uint32_t each) {
    uint32_t fit = buffers / each, share = (buffers - buffers / 4) / each;
    uint32_t frames = share < fit ? share : fit - (fit > 0);
    return (uint16_t)(frames == 0 ? 1 : frames < TOLD_MAX / 2 ? 2 * frames : TOLD_MAX);
}

netdev_t *netdev_get(unsigned index) { return index < netdev_count ? netdev_list[index] : NULL; }

// For a host that watches a running guest by reading its memory (tools/floe/image/vitals.py): the list, its
// length, and in a device the offset of netdev_stats_t.
__attribute__((section(".rodata.vitals")))
const uintptr_t netdev_vitals[] = {(uintptr_t)netdev_list, NETDEV_MAX, offsetof(netdev_t, stats)};
