// SPDX-License-Identifier: MIT
// The list of network devices. Owns the list, not the devices. Context: main loop.

#include "netdev.h"

#include <errno.h>
#include <stddef.h>

static netdev_t *netdev_list[NETDEV_MAX];
static unsigned netdev_count;

int netdev_register(netdev_t *n) {
    if (netdev_count == NETDEV_MAX) {
        return -ENOSPC;
    }
    netdev_list[netdev_count++] = n;
    return 0;
}

netdev_t *netdev_get(unsigned index) { return index < netdev_count ? netdev_list[index] : NULL; }
