// SPDX-License-Identifier: MIT
// A shared ring seen from the front end, by Xen public/io/ring.h, and pages with a grant. Owns nothing itself. Not here:
// what a message means (netfront.c). Context: main loop, never waits.

#include "netfront_ring.h"

#include <string.h>

// Shared memory is read and written by exactly one access each, so that a check and a use see the same value.
static inline uint32_t load32(const uint32_t *p) { return *(const volatile uint32_t *)p; }
static inline void store32(uint32_t *p, uint32_t v) { *(volatile uint32_t *)p = v; }

static ring_shared_t *shared(const ring_t *r) { return (ring_shared_t *)(void *)r->page.base; }

void netfront_page_revoke(page_t *p) {
    p->held = p->ref != 0 && !xen_grant_end(p->ref);
    if (!p->held) {
        p->ref = 0;
    }
}

bool netfront_page_grant(page_t *p, uint16_t dom, bool readonly) {
    netfront_page_revoke(p);
    if (!p->held) {
        p->ref = xen_grant_page(dom, p->base, readonly);
    }
    return page_ready(p);
}

bool netfront_ring_open(ring_t *r, uint16_t dom, unsigned *spare) {
    netfront_page_revoke(&r->page);
    uint8_t *fresh = NULL;
    if (r->page.held && *spare > 0 && (fresh = hal_mem_dma(HAL_PAGE_SIZE, HAL_PAGE_SIZE)) != NULL) {
        r->page = (page_t){.base = fresh}; // the old one is left to whoever has it
        --*spare;
    }
    if (r->page.held) {
        return false;
    }
    memset(r->page.base, 0, HAL_PAGE_SIZE);
    shared(r)->req_event = shared(r)->rsp_event = 1;
    r->req_prod = r->rsp_cons = r->rsp_seen = r->kicked = 0;
    return netfront_page_grant(&r->page, dom, false);
}

int netfront_ring_look(ring_t *r) {
    if (r->rsp_seen != r->rsp_cons) {
        return 0;
    }
    uint32_t prod = load32(&shared(r)->rsp_prod), fresh = prod - r->rsp_cons;
    if (fresh == 0) {
        return -EAGAIN;
    }
    if (fresh > ring_outstanding(r)) {
        return -EIO;
    }
    hal_rmb(); // rsp_prod before the responses it covers
    r->rsp_seen = prod;
    return 0;
}

void netfront_ring_publish(ring_t *r) {
    hal_wmb(); // requests before the index that publishes them
    store32(&shared(r)->req_prod, r->req_prod);
}

bool netfront_ring_kick_needed(ring_t *r) {
    uint32_t fresh = r->req_prod - r->kicked;
    if (fresh == 0) {
        return false;
    }
    hal_mb(); // our req_prod before the load of what the backend wishes
    r->kicked = r->req_prod;
    return r->req_prod - load32(&shared(r)->req_event) < fresh;
}

bool netfront_ring_arm(ring_t *r, uint32_t count) {
    store32(&shared(r)->rsp_event, r->rsp_cons + count);
    hal_mb(); // our wish before the load of rsp_prod: one side always sees the other
    return load32(&shared(r)->rsp_prod) != r->rsp_cons;
}
