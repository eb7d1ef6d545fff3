// SPDX-License-Identifier: MIT
// A shared ring seen from the front end (Xen public/io/ring.h), what stands in those of a network card (public/io/netif.h),
// and pages that a backend may use. Owns the indices of a ring. Not here: what a message means (netfront.c). Context: main
// loop, never waits.

#ifndef FLOE_NETFRONT_RING_H
#define FLOE_NETFRONT_RING_H

#include "xen/xen.h"

enum { RING_SIZE = 256 }; // entries, of either kind
enum { TXF_CSUM_BLANK = 1, TXF_DATA_VALIDATED = 2, TXF_MORE_DATA = 4, TXF_EXTRA_INFO = 8 };
enum { RXF_DATA_VALIDATED = 1, RXF_CSUM_BLANK = 2, RXF_MORE_DATA = 4, RXF_EXTRA_INFO = 8, RXF_GSO_PREFIX = 16 };
enum { RSP_DROPPED = -2, RSP_ERROR = -1, RSP_OKAY = 0, RSP_NULL = 1 };
enum { EXTRA_TYPE_GSO = 1, EXTRA_FLAG_MORE = 1, GSO_TCPV4 = 1, GSO_TCPV6 = 2 };

typedef struct {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
    uint8_t pad[48];
} ring_shared_t; // the entries follow

typedef struct {
    uint32_t ref;
    uint16_t offset, flags, id, size; // size: of the whole frame in its first request
} tx_request_t;

typedef struct {
    uint16_t id;
    int16_t status; // RSP_*
} tx_response_t;

typedef struct {
    uint16_t id, pad;
    uint32_t ref;
} rx_request_t;

typedef struct {
    uint16_t id, offset, flags;
    int16_t status; // bytes, or RSP_*
} rx_response_t;

typedef struct {
    uint8_t type, flags;
    uint16_t gso_size;
    uint8_t gso_type, pad;
    uint16_t gso_features;
} extra_t;

typedef union {
    tx_request_t req;
    extra_t extra;
    tx_response_t rsp;
    uint32_t whole; // of the response
} tx_entry_t;

typedef union {
    rx_request_t req;
    rx_response_t rsp;
    extra_t extra;
    uint64_t whole;
} rx_entry_t;
_Static_assert(sizeof(ring_shared_t) == 64 && sizeof(tx_entry_t) == 12 && sizeof(rx_entry_t) == 8, "ring.h, netif.h");
_Static_assert(sizeof(ring_shared_t) + RING_SIZE * sizeof(tx_entry_t) <= HAL_PAGE_SIZE, "one page");

typedef struct {
    uint8_t *base;
    xen_grant_t ref; // 0: nobody's but ours
    bool held;       // a backend that is gone has it mapped
} page_t;

typedef struct {
    page_t page;
    uint32_t req_prod, rsp_cons, rsp_seen, kicked;
} ring_t;

// A backend may use it.
static inline bool page_ready(const page_t *p) { return p->ref != 0 && !p->held; }

// A ring's i-th entry, which is of this size. Its content is shared: read it once.
static inline void *ring_entry(const ring_t *r, uint32_t i, size_t size) {
    return r->page.base + sizeof(ring_shared_t) + (i % RING_SIZE) * size;
}
// Entries whose response has not been taken.
static inline uint32_t ring_outstanding(const ring_t *r) { return r->req_prod - r->rsp_cons; }

// Take a page back; it is held where the backend does not let go of it.
void netfront_page_revoke(page_t *p);
// Let dom use the page; true: it is ready.
bool netfront_page_grant(page_t *p, uint16_t dom, bool readonly);

// Begin with an empty ring, in another page where the old one is held and *spare is not 0 yet. False: no page, or no grant.
bool netfront_ring_open(ring_t *r, uint16_t dom, unsigned *spare);
// 0: there is a response at rsp_cons; -EAGAIN: none; -EIO: the index is not one that can be.
int netfront_ring_look(ring_t *r);
void netfront_ring_publish(ring_t *r); // requests up to req_prod
// Whether the backend wants to hear of what was published since the last call.
bool netfront_ring_kick_needed(ring_t *r);
// Ask for an event at the count-th response from now. True: there are some already.
bool netfront_ring_arm(ring_t *r, uint32_t count);

#endif
