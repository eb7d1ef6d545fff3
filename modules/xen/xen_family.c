// SPDX-License-Identifier: MIT
// The family's line under Xen: a vchan (Xen public/io/libxenvchan.h), whose server is this VM and whose client is a
// program of dom0's (vchan-socket-proxy). Owns the shared page, both rings and our index of each. Not here: frames
// (modules/family), what a page's grant is (xenring.h). Context: main loop only; nothing waits but for XenStore.
//
// The host wants a line where it has written floe/family; without that the VM has none. What the client writes is read
// once and checked: an index that cannot be ends the line. A VM that goes on in another domain makes it anew, empty.

#include <stdio.h>
#include <string.h>

#include "familydev.h"
#include "xenring.h"

enum {
    DOM0 = 0,
    IN_ORDER = 14,  // the client writes, we read: left
    OUT_ORDER = 15, // right; the longest frame and its head take 16 KiB and some bytes
    IN = 1 << IN_ORDER,
    OUT = 1 << OUT_ORDER,
    IN_PAGES = IN / HAL_PAGE_SIZE,
    OUT_PAGES = OUT / HAL_PAGE_SIZE,
};
enum { NOTIFY_WRITE = 1, NOTIFY_READ = 2 };          // whoever has asked so is told of what was written, or read
enum { LIVE_GONE = 0, LIVE_HERE = 1, LIVE_YET = 2 }; // yet to come: the client alone

typedef struct {
    uint32_t in_cons, in_prod, out_cons, out_prod; // all run freely
    uint16_t in_order, out_order;
    uint8_t cli_live, srv_live;
    uint8_t cli_notify, srv_notify; // what the client is to tell, and what we are
    uint32_t grants[IN_PAGES + OUT_PAGES];
} vchan_t;
_Static_assert(offsetof(vchan_t, grants) == 24, "struct vchan_interface");

typedef struct {
    familydev_t dev; // first: the contract's verbs get this
    vchan_t *shared;
    uint8_t *in, *out; // pages in a row
    xenring_page_t page, in_page[IN_PAGES], out_page[OUT_PAGES];
    xen_port_t port;
    bool open;
    uint32_t in_cons, out_prod; // ours: never read back from the page
    size_t wants;               // somebody waits for so much room; 0: nobody
} xfam_t;

static xfam_t fam; // a VM is in one family

static xfam_t *self(familydev_t *d) { return (xfam_t *)d; }

static uint32_t load32(const uint32_t *p) { return *(const volatile uint32_t *)p; }
static void store32(uint32_t *p, uint32_t v) { *(volatile uint32_t *)p = v; }

static int say(const char *why, int err) {
    char line[96];
    int n = snprintf(line, sizeof(line), "xen family: %s (%d)\n", why, err);
    hal_console_log(line, (size_t)n);
    return err;
}

static int xfam_die(xfam_t *f, const char *why, int err) {
    f->dev.dead = true;
    if (f->open) {
        f->open = false;
        *(volatile uint8_t *)&f->shared->srv_live = LIVE_GONE;
        xen_evtchn_notify(f->port); // the client ends, and the host hears of it
    }
    return say(why, err);
}

// ---- the rings ----------------------------------------------------------------------------------

// Have the client tell of what it does from now on. A look at an index comes after this.
static void ask(xfam_t *f, uint8_t what) { __atomic_fetch_or(&f->shared->cli_notify, what, __ATOMIC_SEQ_CST); }

// Tell the client what was done, where it has asked so. The index is written before this.
static void tell(xfam_t *f, uint8_t what) {
    hal_mb(); // our index before the look at what the client wants to hear
    if ((__atomic_fetch_and(&f->shared->srv_notify, (uint8_t)~what, __ATOMIC_SEQ_CST) & what) != 0) {
        xen_evtchn_notify(f->port);
    }
}

static uint32_t unread(xfam_t *f) {
    uint32_t have = f->open ? load32(&f->shared->in_prod) - f->in_cons : 0;
    if (have > IN) {
        xfam_die(f, "the host wrote more than there is room for", -EIO);
        return 0;
    }
    return have;
}

static size_t free_room(xfam_t *f) {
    uint32_t used = f->open ? f->out_prod - load32(&f->shared->out_cons) : OUT;
    if (used > OUT) {
        xfam_die(f, "the host took more than was written", -EIO);
        return 0;
    }
    return OUT - used;
}

static void put(xfam_t *f, const uint8_t *data, size_t len) {
    uint32_t at = f->out_prod % OUT, first = len < OUT - at ? (uint32_t)len : OUT - at;
    if (len > 0) { // data may be NULL
        memcpy(f->out + at, data, first);
        memcpy(f->out, data + first, len - first);
    }
    f->out_prod += (uint32_t)len;
}

static bool client_gone(const xfam_t *f) {
    return f->open && *(const volatile uint8_t *)&f->shared->cli_live == LIVE_GONE;
}

// ---- verbs --------------------------------------------------------------------------------------

static bool xfam_room(familydev_t *d, size_t len) {
    xfam_t *f = self(d);
    bool enough = free_room(f) >= len;
    f->wants = enough ? 0 : len;
    return enough && f->open;
}

static bool xfam_send(familydev_t *d, const void *head, size_t n, const void *data, size_t len) {
    xfam_t *f = self(d);
    hal_assert(0 < n && n <= OUT && len <= OUT - n);
    if (!xfam_room(d, n + len)) {
        return false;
    }
    hal_mb(); // the look at out_cons before the bytes it made room for are overwritten
    put(f, head, n);
    put(f, data, len);
    hal_wmb(); // the bytes before the index that covers them
    store32(&f->shared->out_prod, f->out_prod);
    tell(f, NOTIFY_WRITE);
    return true;
}

static size_t xfam_receive(familydev_t *d, void *out, size_t size) {
    xfam_t *f = self(d);
    uint32_t have = unread(f), n = size < have ? (uint32_t)size : have;
    if (n == 0) {
        return 0;
    }
    hal_rmb(); // the index before the bytes that it covers
    uint32_t at = f->in_cons % IN, first = n < IN - at ? n : IN - at;
    memcpy(out, f->in + at, first);
    memcpy((uint8_t *)out + first, f->in, n - first);
    hal_mb(); // the bytes are read before the client may write over them
    f->in_cons += n;
    store32(&f->shared->in_cons, f->in_cons);
    tell(f, NOTIFY_READ);
    return n;
}

static bool grant(xenring_page_t *p, uint8_t *base, uint32_t *ref) {
    p->base = base;
    bool ready = xenring_page_grant(p, DOM0, false);
    *ref = p->ref;
    return ready;
}

// Where dom0 finds the ring and the event channel; the client looks for the first one of them first.
static int publish(const xfam_t *f) {
    int r = xen_store_printf(0, "data/floe-family/event-channel", "%u", f->port);
    return r < 0 ? r : xen_store_printf(0, "data/floe-family/ring-ref", "%u", f->page.ref);
}

// Make an empty line, whose pages nobody else has. 0 or -errno.
static int begin(xfam_t *f) {
    vchan_t *v = f->shared;
    bool granted = true;
    uint32_t own;
    memset(v, 0, HAL_PAGE_SIZE);
    *v = (vchan_t){.in_order = IN_ORDER, .out_order = OUT_ORDER, .cli_live = LIVE_YET, .srv_live = LIVE_HERE};
    f->in_cons = f->out_prod = 0;
    for (unsigned i = 0; i < IN_PAGES; i++) {
        granted = granted && grant(&f->in_page[i], f->in + i * HAL_PAGE_SIZE, &v->grants[i]);
    }
    for (unsigned i = 0; i < OUT_PAGES; i++) {
        granted = granted && grant(&f->out_page[i], f->out + i * HAL_PAGE_SIZE, &v->grants[IN_PAGES + i]);
    }
    if (!granted || !grant(&f->page, (uint8_t *)v, &own)) {
        return xfam_die(f, "no grant for a page", -ENOSPC);
    }
    int r = xen_evtchn_alloc(DOM0, &f->port);
    if (r < 0) {
        return xfam_die(f, "no event channel", r);
    }
    xen_evtchn_unmask(f->port);
    r = publish(f);
    if (r < 0) {
        return xfam_die(f, "XenStore does not take the ring's place", r);
    }
    f->open = true;
    return 0;
}

// Whether the host wants a line.
static bool is_wanted(void) {
    uint64_t wanted;
    return xen_store_read_u64(0, "floe/family", 1, &wanted) == 0 && wanted == 1;
}

static bool xfam_run(familydev_t *d) {
    xfam_t *f = self(d);
    if (f->dev.dead) {
        return false;
    }
    if (!f->open) { // another domain
        (void)(is_wanted() ? begin(f) : xfam_die(f, "none where the VM goes on", -ENODEV));
        return true;
    }
    if (client_gone(f)) {
        xfam_die(f, "the host has closed the family's line", -EPIPE);
        return true;
    }
    if (f->wants == 0 || free_room(f) < f->wants) {
        return f->dev.dead;
    }
    f->wants = 0;
    return true;
}

static uint64_t xfam_deadline(const familydev_t *d) {
    (void)d;
    return UINT64_MAX;
}

static bool xfam_arm(familydev_t *d) {
    xfam_t *f = self(d);
    if (f->dev.dead || !f->open) {
        return !f->dev.dead;
    }
    xen_evtchn_take(f->port);
    ask(f, NOTIFY_WRITE | (f->wants > 0 ? NOTIFY_READ : 0));
    bool work = client_gone(f) || unread(f) > 0;
    return work || (f->wants > 0 && free_room(f) >= f->wants) || f->dev.dead;
}

static bool xfam_busy(const familydev_t *d) {
    const xfam_t *f = (const xfam_t *)d;
    bool has_client = f->open && *(const volatile uint8_t *)&f->shared->cli_live == LIVE_HERE;
    return has_client && load32(&f->shared->out_cons) != f->out_prod;
}

static const familydev_ops_t ops = {xfam_send, xfam_receive, xfam_run, xfam_deadline, xfam_arm, xfam_busy, xfam_room};

static int xfam_probe(void) {
    xfam_t *f = &fam;
    if (!xen_present() || !is_wanted()) {
        return 0;
    }
    uint8_t *pages = hal_mem_dma(HAL_PAGE_SIZE + IN + OUT, HAL_PAGE_SIZE);
    if (pages == NULL) {
        return say("no memory for its rings", -ENOMEM);
    }
    f->shared = (vchan_t *)(void *)pages;
    f->in = pages + HAL_PAGE_SIZE;
    f->out = f->in + IN;
    int r = begin(f);
    if (r < 0) {
        return r;
    }
    f->dev.ops = &ops;
    familydev_register(&f->dev);
    return 1;
}

// In another domain nobody has a page of ours: the next turn of the main loop begins anew.
static void xfam_suspend(hal_suspend_t what) {
    xfam_t *f = &fam;
    if (what == HAL_SUSPENDING || f->shared == NULL) {
        return;
    }
    xenring_page_forget(&f->page);
    for (unsigned i = 0; i < IN_PAGES; i++) {
        xenring_page_forget(&f->in_page[i]);
    }
    for (unsigned i = 0; i < OUT_PAGES; i++) {
        xenring_page_forget(&f->out_page[i]);
    }
    f->open = false;
    f->wants = 0;
}
HAL_SUSPEND(xfam_suspend);

const hal_driver_t xen_family_driver = {"xen-family", xfam_probe};
