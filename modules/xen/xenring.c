// SPDX-License-Identifier: MIT
// A shared ring seen from the front end, by Xen public/io/ring.h, and pages with a grant. Owns nothing itself. Not
// here: what an entry means (netfront_ring.h, blkfront.c). Context: main loop, never waits.

#include "xenring.h"

#include <string.h>

// Shared memory is read and written by exactly one access each, so that a check and a use see the same value.
static inline uint32_t load32(const uint32_t *p) { return *(const volatile uint32_t *)p; }
static inline void store32(uint32_t *p, uint32_t v) { *(volatile uint32_t *)p = v; }

static xenring_shared_t *shared(const xenring_t *r) { return (xenring_shared_t *)(void *)r->page.base; }

bool xenring_take_back(xen_grant_t *ref) {
    if (*ref != 0 && xen_grant_end(*ref)) {
        *ref = 0;
    }
    return *ref == 0;
}

void xenring_page_revoke(xenring_page_t *p) { p->held = !xenring_take_back(&p->ref); }

bool xenring_page_grant(xenring_page_t *p, uint16_t dom, bool readonly) {
    xenring_page_revoke(p);
    if (!p->held) {
        p->ref = xen_grant_page(dom, p->base, readonly);
    }
    return xenring_page_ready(p);
}

bool xenring_open(xenring_t *r, uint16_t dom) {
    xenring_page_revoke(&r->page);
    if (r->page.held) {
        return false;
    }
    memset(r->page.base, 0, HAL_PAGE_SIZE);
    shared(r)->req_event = shared(r)->rsp_event = 1;
    r->req_prod = r->req_pushed = r->kicked = r->rsp_cons = r->rsp_seen = 0;
    return xenring_page_grant(&r->page, dom, false);
}

int xenring_look(xenring_t *r) {
    if (r->rsp_seen != r->rsp_cons) {
        return 0;
    }
    uint32_t prod = load32(&shared(r)->rsp_prod), fresh = prod - r->rsp_cons;
    if (fresh == 0) {
        return -EAGAIN;
    }
    if (fresh > xenring_outstanding(r)) {
        return -EIO;
    }
    hal_rmb(); // rsp_prod before the responses it covers
    r->rsp_seen = prod;
    return 0;
}

void xenring_publish(xenring_t *r) {
    hal_wmb(); // requests before the index that publishes them
    store32(&shared(r)->req_prod, r->req_prod);
    r->req_pushed = r->req_prod;
}

bool xenring_kick_needed(xenring_t *r) {
    uint32_t fresh = r->req_pushed - r->kicked;
    if (fresh == 0) {
        return false;
    }
    hal_mb(); // our req_prod before the load of what the backend wishes
    r->kicked = r->req_pushed;
    return r->req_pushed - load32(&shared(r)->req_event) < fresh;
}

bool xenring_arm(xenring_t *r, uint32_t count) {
    store32(&shared(r)->rsp_event, r->rsp_cons + count);
    hal_mb(); // our wish before the load of rsp_prod: one side always sees the other
    return load32(&shared(r)->rsp_prod) != r->rsp_cons;
}
