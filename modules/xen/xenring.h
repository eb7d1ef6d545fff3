// SPDX-License-Identifier: MIT
// A shared ring of one page seen from the front end (Xen public/io/ring.h), and pages that a backend may use. Owns the
// indices of a ring. Not here: what an entry means (netfront_ring.h, blkfront.c). Context: main loop, never waits.

#ifndef FLOE_XENRING_H
#define FLOE_XENRING_H

#include "xen/xen.h"

typedef struct {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
    uint8_t pad[48];
} xenring_shared_t; // the entries follow
_Static_assert(sizeof(xenring_shared_t) == 64, "ring.h");

// A page of ours and the grant of it.
typedef struct {
    uint8_t *base;
    xen_grant_t ref; // 0: nobody's but ours
    bool held;       // a backend that is gone has it mapped
} xenring_page_t;

// The indices count on for ever; the page's are only written, or checked against these.
typedef struct {
    xenring_page_t page;
    uint32_t req_prod, req_pushed, kicked; // requests written; told of; told of at the last kick
    uint32_t rsp_cons, rsp_seen;           // responses taken; known to be there
} xenring_t;

// The domain in which it was granted is another one's past (HAL_RESUMED).
static inline void xenring_page_forget(xenring_page_t *p) {
    p->ref = 0;
    p->held = false;
}

// A backend may use it.
static inline bool xenring_page_ready(const xenring_page_t *p) { return p->ref != 0 && !p->held; }

// The i-th entry of a ring of so many entries of this size. Its content is shared: read it once.
static inline void *xenring_entry(const xenring_t *r, uint32_t i, uint32_t entries, size_t size) {
    return r->page.base + sizeof(xenring_shared_t) + (i % entries) * size;
}
// Requests that the backend was told of and whose response has not been taken.
static inline uint32_t xenring_outstanding(const xenring_t *r) { return r->req_pushed - r->rsp_cons; }

// The backend has answered all that it was told of.
static inline bool xenring_answered(const xenring_t *r) {
    return ((const volatile xenring_shared_t *)(const void *)r->page.base)->rsp_prod == r->req_pushed;
}

// Take a grant back, and forget it. False: the backend still has the page mapped, the grant stays.
bool xenring_take_back(xen_grant_t *ref);
// Take a page back; it is held where the backend does not let go of it.
void xenring_page_revoke(xenring_page_t *p);
// Let dom use the page; true: it is ready.
bool xenring_page_grant(xenring_page_t *p, uint16_t dom, bool readonly);

// Begin with an empty ring in r's page. False: the page is held, or there is no grant.
bool xenring_open(xenring_t *r, uint16_t dom);
// 0: there is a response at rsp_cons; -EAGAIN: none; -EIO: the index is not one that can be.
int xenring_look(xenring_t *r);
// Tell the backend of requests up to req_prod, should it look.
void xenring_publish(xenring_t *r);
// Whether the backend wants an event for what was published since the last call.
bool xenring_kick_needed(xenring_t *r);
// Ask for an event at the count-th response from now. True: there are some already.
bool xenring_arm(xenring_t *r, uint32_t count);

#endif
