// SPDX-License-Identifier: MIT
// Random lives of a Xen network card: a backend that is honest most of the time, lies now and then, goes away and comes
// back, and a stack that takes, holds and returns as it likes. Checked besides the sanitizers: while no lie was told
// every byte arrives both ways and no buffer is lost; each cookie comes back once;
// at the end of a connection no grant is left.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"
#include "fuzz.h"
#include "netdev.h"
#include "xen/xen.h"

int fuzz_netfront(unsigned long seed, unsigned long count);

extern const hal_driver_t xen_netfront_driver;

#define BACK "/local/domain/0/backend/vif/1/0"
#define CHECK(e) FUZZ_CHECK(e)
enum { STEPS = 400, FRAMES = 256, RING = 256, PAGE = 4096, COOKIES = 512, HEAD = 64 };
enum { MORE = 4, EXTRA = 8 };

typedef struct {
    netdev_t *nic;
    bool lied, up, gso;
    xen_grant_t tx_ref, rx_ref;
    uint32_t tx_cons, tx_prod, rx_cons, rx_prod; // the backend's
    uint32_t sum_sent[FRAMES], len_sent[FRAMES]; // frames on their way to the driver, in order
    unsigned first, last;
    void *lent[FRAMES];
    unsigned lents;
    bool out[COOKIES + 1]; // cookies with the driver
    uint32_t tx_sum[COOKIES + 1];
    unsigned outs;
} world_t;

static uint32_t pick(uint32_t below) { return fuzz_pick(below); }

static uint8_t *ring(xen_grant_t ref) {
    uint8_t *page = fake_grant_page(ref, 0, true);
    CHECK(page != NULL);
    return page;
}

static uint32_t index_of(const uint8_t *page, unsigned i) {
    uint32_t v;
    memcpy(&v, page + 4 * i, 4);
    return v;
}

static void set_index(uint8_t *page, unsigned i, uint32_t v) { memcpy(page + 4 * i, &v, 4); }

static unsigned number(const char *name) {
    char path[64];
    snprintf(path, sizeof(path), "device/vif/0/%s", name);
    const char *v = fake_xs_get(path);
    CHECK(v != NULL);
    return (unsigned)strtoul(v, NULL, 10);
}

static void settle(world_t *w) {
    for (int i = 0; i < 4; i++) {
        hal_event_run();
    }
    w->up = w->nic->ops->link_up(w->nic);
    if (w->up && number("tx-ring-ref") != w->tx_ref) {
        w->tx_ref = number("tx-ring-ref");
        w->rx_ref = number("rx-ring-ref");
        w->gso = number("feature-gso-tcpv4") != 0;
        w->tx_cons = w->tx_prod = w->rx_cons = w->rx_prod = 0;
        w->first = w->last = 0;
    }
}

// ---- the backend -----------------------------------------------------------------------------------

// The next receive request: its id, and its page if it names one.
static uint16_t rx_request(world_t *w, uint8_t **page) {
    uint8_t *r = ring(w->rx_ref);
    uint16_t id;
    uint32_t ref;
    memcpy(&id, r + HEAD + w->rx_cons % RING * 8, 2);
    memcpy(&ref, r + HEAD + w->rx_cons % RING * 8 + 4, 4);
    w->rx_cons++;
    *page = fake_grant_page(ref, 0, true);
    CHECK(*page != NULL);
    return id;
}

static void rx_answer(world_t *w, const void *raw) {
    uint8_t *r = ring(w->rx_ref);
    memcpy(r + HEAD + w->rx_prod++ % RING * 8, raw, 8);
}

static void garble(uint8_t *p, size_t len) {
    for (unsigned n = 1 + pick(3); n > 0; n--) {
        p[pick((uint32_t)len)] = (uint8_t)(pick(4) == 0 ? 255 : pick(256));
    }
}

static void backend_receive(world_t *w) {
    uint8_t *r = ring(w->rx_ref);
    uint32_t there = index_of(r, 0) - w->rx_cons, total = 0, s = 0;
    CHECK(there <= RING);
    unsigned n = 1 + (pick(4) == 0 ? pick(17) : 0);
    bool gso = w->gso && n > 1 && pick(2);
    if (there < n + gso) {
        return;
    }
    bool lie = pick(80) == 0, lost = pick(20) == 0;
    for (unsigned i = 0; i < n; i++) {
        uint8_t *page;
        uint16_t id = rx_request(w, &page), offset = (uint16_t)(pick(4) == 0 ? pick(64) : 0);
        uint32_t len = i + 1 < n ? 3800 - pick(2) * 100 : 14 + pick(3000);
        for (uint32_t k = 0; k < len; k++) {
            page[offset + k] = (uint8_t)pick(256);
        }
        s = fuzz_sum(s, page + offset, len);
        total += len;
        uint16_t raw[4] = {id, offset, (uint16_t)((i + 1 < n ? MORE : 0) | (gso && i == 0 ? EXTRA : 0) | pick(4)),
                           (uint16_t)(lost && i == n - 1 ? -1 : (int)len)};
        if (lie && pick(n) == 0) {
            garble((uint8_t *)raw, 8);
        }
        rx_answer(w, raw);
        if (gso && i == 0) {
            uint8_t extra[8] = {1, 0, 0xb4, 5, (uint8_t)(1 + pick(2)), 0, 0, 0};
            rx_request(w, &page);
            if (lie && pick(2)) {
                garble(extra, 8);
            }
            rx_answer(w, extra);
        }
    }
    w->lied |= lie;
    uint32_t prod = w->rx_prod;
    if (lie && pick(4) == 0) {
        prod = pick(2) ? prod + pick(600) : pick(UINT32_MAX);
    }
    set_index(r, 2, prod);
    if (!lost && total <= 65535) {
        w->sum_sent[w->last % FRAMES] = s;
        w->len_sent[w->last++ % FRAMES] = total;
    }
}

// Take whole frames, look at their bytes, answer.
static void backend_send(world_t *w) {
    uint8_t *r = ring(w->tx_ref);
    uint32_t prod = index_of(r, 0);
    CHECK(prod - w->tx_cons <= RING);
    for (unsigned n = pick(6); n > 0 && w->tx_cons != prod; n--) {
        uint32_t s = 0, total = 0, first = w->tx_cons, cons = first, rest = 0, pieces = 0;
        uint32_t ref[20], size[20], at[20], order[40], count = 0;
        bool more = true, extra = false, has_extra = false;
        uint16_t ids[20];
        while (more || extra) {
            CHECK(cons != prod && count < 40); // a frame is published whole
            const uint8_t *e = r + HEAD + cons++ % RING * 12;
            if (extra) {
                CHECK(e[0] == 1 && e[1] == 0 && (e[4] == 1 || e[4] == 2));
                extra = false;
                order[count++] = UINT32_MAX;
                continue;
            }
            uint16_t w16[4];
            memcpy(&ref[pieces], e, 4);
            memcpy(w16, e + 4, 8);
            at[pieces] = w16[0];
            ids[pieces] = w16[2];
            size[pieces] = w16[3];
            more = (w16[1] & MORE) != 0;
            extra = (w16[1] & EXTRA) != 0;
            CHECK(!extra || pieces == 0);
            has_extra |= extra;
            total = pieces == 0 ? w16[3] : total;
            rest += pieces > 0 ? w16[3] : 0;
            order[count++] = pieces++;
            CHECK(pieces <= 18);
        }
        size[0] = total - rest;
        for (unsigned i = 0; i < pieces; i++) {
            const uint8_t *page = fake_grant_page(ref[i], 0, false);
            CHECK(page != NULL && at[i] + size[i] <= PAGE);
            s = fuzz_sum(s, page + at[i], size[i]);
        }
        uint32_t cookie = 0; // the frame's first bytes name it
        const uint8_t *page = fake_grant_page(ref[0], 0, false);
        memcpy(&cookie, page + at[0], 2);
        CHECK(cookie <= COOKIES && w->out[cookie] && w->tx_sum[cookie] == s);
        w->tx_cons = cons;
        bool lie = pick(200) == 0;
        w->lied |= lie;
        for (unsigned i = 0; i < count; i++) {
            uint16_t raw[2] = {order[i] == UINT32_MAX ? (uint16_t)pick(65536) : ids[order[i]],
                               order[i] == UINT32_MAX ? 1 : (uint16_t)-(int)pick(3)};
            if (lie && pick(count) == 0) {
                garble((uint8_t *)raw, 4);
            }
            memcpy(r + HEAD + w->tx_prod++ % RING * 12, raw, 4);
        }
        if (lie && pick(4) == 0) {
            w->tx_prod += pick(300);
        }
        set_index(r, 2, w->tx_prod);
        if (lie) {
            return; // it may have written over what it had not read
        }
    }
}

// ---- the stack -------------------------------------------------------------------------------------

static void stack_take(world_t *w) {
    netdev_frame_t f;
    int r = w->nic->ops->rx_take(w->nic, &f);
    CHECK(r == 0 || r == -EAGAIN || (r == -EIO && w->lied && w->nic->dead));
    if (r != 0) {
        CHECK(w->lied || !w->up || w->first == w->last);
        return;
    }
    uint32_t s = 0, total = 0;
    CHECK(f.nsegs >= 1 && f.nsegs <= NETDEV_MAX_SEGS);
    for (unsigned i = 0; i < f.nsegs; i++) {
        s = fuzz_sum(s, f.seg[i].base, f.seg[i].len); // touches every byte: ASan checks the bounds
        total += f.seg[i].len;
    }
    CHECK(total <= 65535);
    CHECK(w->lied ||
          (w->first != w->last && s == w->sum_sent[w->first % FRAMES] && total == w->len_sent[w->first % FRAMES]));
    w->first++;
    w->lent[w->lents++] = f.cookie;
}

static void stack_collect(world_t *w) {
    uintptr_t cookie;
    while ((cookie = (uintptr_t)w->nic->ops->tx_return(w->nic)) != 0) {
        CHECK(cookie <= COOKIES && w->out[cookie]);
        w->out[cookie] = false;
        w->outs--;
    }
    CHECK(!w->nic->dead || w->lied);
}

static void stack_send(world_t *w) {
    static uint8_t memory[66000];
    uint16_t cookie = 1;
    while (cookie <= COOKIES && w->out[cookie]) {
        cookie++;
    }
    if (cookie > COOKIES) {
        return;
    }
    netdev_frame_t f = {.nsegs = (uint16_t)(1 + pick(NETDEV_MAX_SEGS)), .cookie = (void *)(uintptr_t)cookie};
    bool gso = (w->nic->features & NETDEV_F_TX_TSO4) != 0 && pick(2);
    uint32_t total = 0;
    for (unsigned i = 0; i < f.nsegs; i++) {
        uint32_t len = i == 0 ? 60 : 1 + pick(gso ? 3200 : 70);
        for (uint32_t k = 0; k < len; k++) {
            memory[total + k] = (uint8_t)pick(256);
        }
        f.seg[i] = (netdev_seg_t){memory + total, len};
        total += len;
    }
    memcpy(memory, &cookie, 2);
    if (gso) {
        f.gso = NETDEV_GSO_TCP4;
        f.gso_size = 1448;
        f.hdr_len = 54;
        f.csum_needed = true;
        f.csum_start = 34;
        f.csum_offset = 16;
    }
    int r = w->nic->ops->tx_provide(w->nic, &f);
    CHECK(r == 0 || r == -EAGAIN || (r == -EIO && w->lied) || (r == -EMSGSIZE && !w->up));
    w->out[cookie] = r == 0;
    w->outs += r == 0;
    w->tx_sum[cookie] = fuzz_sum(0, memory, total);
    memset(memory, 0xee, total); // copied, or never
}

// ---- a life ----------------------------------------------------------------------------------------

static void new_life(world_t *w) {
    const char *const values[][2] = {
        {"device/vif/0/backend", BACK},
        {"device/vif/0/backend-id", "0"},
        {"device/vif/0/state", "1"},
        {"device/vif/0/mac", "00:16:3e:00:00:01"},
        {BACK "/online", "1"},
        {BACK "/feature-sg", "1"},
        {BACK "/feature-gso-tcpv4", pick(4) ? "1" : "0"},
        {BACK "/feature-no-csum-offload", pick(4) ? "0" : "1"},
        {BACK "/state", "2"},
    };
    for (unsigned i = 0; i < HAL_ARRAY_LEN(values); i++) {
        fake_xs_set(values[i][0], values[i][1]);
    }
    fake_xs_react("device/vif/0/state", "4", BACK "/state", "4");
    fake_xs_react("device/vif/0/state", "6", BACK "/state", "6");
    fake_xs_react("device/vif/0/state", "1", BACK "/state", "2");
    fake_hal.mem_total = pick(2) ? 8u << 20 : 64u << 20;
    CHECK(xen_netfront_driver.probe() == 1);
    *w = (world_t){.nic = netdev_get(0)};
    settle(w);
    CHECK(w->up);
}

static void backend_restart(world_t *w) {
    char text[2] = {(char)('2' + pick(5)), 0}; // INIT_WAIT to CLOSED
    if (!w->lied) {
        fake_xs_set(BACK "/state", text);
        settle(w);
    }
}

// In another domain, with a new backend; what both had is gone.
static void wander(world_t *w) {
    fake_xs_set("device/vif/0/state", "1");
    fake_xs_set(BACK "/state", "2");
    fake_xen_anew();
    w->tx_ref = 0;
    w->up = false;
    if (pick(2)) {
        settle(w);
    }
}

static void netfront_life(void) {
    static world_t w;
    new_life(&w);
    for (int step = 0; step < STEPS; step++) {
        unsigned what = pick(16);
        if (what < 4 && w.up && !w.lied && w.last - w.first < FRAMES - 1) {
            backend_receive(&w);
        } else if (what < 8 && w.lents < FRAMES) {
            stack_take(&w);
        } else if (what < 10 && w.lents > 0) {
            unsigned k = pick(w.lents);
            w.nic->ops->rx_return(w.nic, w.lent[k]);
            w.lent[k] = w.lent[--w.lents];
        } else if (what < 12) {
            stack_send(&w);
        } else if (what == 12 && w.up && !w.lied) {
            backend_send(&w);
        } else if (what == 13) {
            stack_collect(&w);
        } else if (what == 14 && pick(20) == 0) {
            backend_restart(&w);
        } else if (what == 14 && pick(40) == 0) {
            wander(&w);
        } else {
            w.nic->ops->arm(w.nic), w.nic->ops->kick(w.nic);
        }
    }
    while (w.lents > 0) {
        w.nic->ops->rx_return(w.nic, w.lent[--w.lents]);
    }
    fake_xs_set(BACK "/online", "0");
    fake_xs_set(BACK "/state", "5");
    settle(&w);
    CHECK(!w.up && fake_xen.grants_in_use == 0);
    stack_collect(&w);
    CHECK(w.nic->dead || w.outs == 0);
}

int fuzz_netfront(unsigned long seed, unsigned long count) { return fuzz_lives(netfront_life, seed, count); }
