// SPDX-License-Identifier: MIT
// What stands in the two rings of a network card (Xen public/io/netif.h). Owns nothing. Not here: rings (xenring.h).

#ifndef FLOE_NETFRONT_RING_H
#define FLOE_NETFRONT_RING_H

#include <stdint.h>

#include "xenring.h"

enum { NETIF_RING_SIZE = 256 }; // entries, of either kind
enum { NETIF_TXF_CSUM_BLANK = 1, NETIF_TXF_DATA_VALIDATED = 2, NETIF_TXF_MORE_DATA = 4, NETIF_TXF_EXTRA_INFO = 8 };
enum {
    NETIF_RXF_DATA_VALIDATED = 1,
    NETIF_RXF_CSUM_BLANK = 2,
    NETIF_RXF_MORE_DATA = 4,
    NETIF_RXF_EXTRA_INFO = 8,
    NETIF_RXF_GSO_PREFIX = 16,
};
enum { NETIF_RSP_DROPPED = -2, NETIF_RSP_ERROR = -1, NETIF_RSP_OKAY = 0, NETIF_RSP_NULL = 1 };
enum { NETIF_EXTRA_TYPE_GSO = 1, NETIF_EXTRA_FLAG_MORE = 1, NETIF_GSO_TCPV4 = 1, NETIF_GSO_TCPV6 = 2 };

typedef struct {
    uint32_t ref;
    uint16_t offset, flags, id, size; // size: of the whole frame in its first request
} netif_tx_request_t;

typedef struct {
    uint16_t id;
    int16_t status; // NETIF_RSP_*
} netif_tx_response_t;

typedef struct {
    uint16_t id, pad;
    uint32_t ref;
} netif_rx_request_t;

typedef struct {
    uint16_t id, offset, flags;
    int16_t status; // bytes, or NETIF_RSP_*
} netif_rx_response_t;

typedef struct {
    uint8_t type, flags;
    uint16_t gso_size;
    uint8_t gso_type, pad;
    uint16_t gso_features;
} netif_extra_t;

typedef union {
    netif_tx_request_t req;
    netif_extra_t extra;
    netif_tx_response_t rsp;
    uint32_t whole; // of the response
} netif_tx_entry_t;

typedef union {
    netif_rx_request_t req;
    netif_rx_response_t rsp;
    netif_extra_t extra;
    uint64_t whole;
} netif_rx_entry_t;
_Static_assert(sizeof(netif_tx_entry_t) == 12 && sizeof(netif_rx_entry_t) == 8, "netif.h");
_Static_assert(sizeof(xenring_shared_t) + NETIF_RING_SIZE * sizeof(netif_tx_entry_t) <= HAL_PAGE_SIZE, "one page");

#endif
