// SPDX-License-Identifier: MIT
// XenStore's answers, watch events and ring: right answers, wrong ones, and a page that is written over.
// port/xen/store.c

#include <string.h>
#include <sys/mman.h>

#include "hal/hal.h"
#include "world.h"

#include "xen/store.c"

enum { PAGE_AT = 0x20000000, PORT = 3, WATCHES = 3 };

static xs_page_t *page = (xs_page_t *)PAGE_AT;
static uint64_t now;
static hal_event_source_t *source;
static bool pending;
static xen_watch_t watches[WATCHES];
static unsigned fired_count;
bool hal_event_alone;

uint64_t hal_clock_ns(void) { return now += 1000; }
void hal_console_log(const void *data, size_t len) {
    (void)data;
    (void)len;
}
void hal_event_add(hal_event_source_t *s) { source = s; }
int64_t xen_param(unsigned index) { return index == XEN_PARAM_STORE_PFN ? PAGE_AT / HAL_PAGE_SIZE : PORT; }
void xen_evtchn_unmask(xen_port_t port) { (void)port; }
void xen_evtchn_notify(xen_port_t port) { (void)port; }

bool xen_evtchn_take(xen_port_t port) {
    bool was = pending;
    pending = false;
    return port == PORT && was;
}

static void say(const void *data, size_t len) {
    for (size_t i = 0; i < len && page->rsp_prod - page->rsp_cons < RING; i++) {
        page->rsp[page->rsp_prod % RING] = ((const uint8_t *)data)[i];
        page->rsp_prod++;
    }
}

// One deed of the store: a message with the number that is waited for or another one, or a lie about the ring.
static void serve(void) {
    static const uint8_t types[] = {XS_READ,        XS_DIRECTORY, XS_WRITE,   XS_WATCH,           XS_TRANSACTION_START,
                                    XS_WATCH_EVENT, XS_ERROR,     XS_UNWATCH, XS_TRANSACTION_END, XS_RM};
    uint8_t how = in_u8();
    size_t len;
    pending = true;
    page->req_cons = page->req_prod;
    if (how < 200) {
        xs_header_t h = {.type = types[how % sizeof types], .id = how & 0x40 ? in_u8() : xs.id};
        uint8_t *body = in_bytes(200, &len);
        h.len = how & 0x80 ? (uint32_t)len + in_u8() : (uint32_t)len;
        say(&h, sizeof h);
        say(body, len);
    } else if (how < 225) {
        say(in_bytes(1100, &len), len);
    } else if (how < 235) {
        char token[20], body[40] = "path";
        snprintf(token, sizeof token, "%lx", (unsigned long)(uintptr_t)&watches[how % WATCHES]);
        memcpy(body + 5, token, strlen(token) + 1);
        xs_header_t h = {.type = XS_WATCH_EVENT, .len = 5 + (uint32_t)strlen(token) + 1};
        say(&h, sizeof h);
        say(body, h.len);
    } else if (how < 240) {
        page->rsp_prod = in_u32();
    } else if (how < 245) {
        page->req_cons = in_u32();
    } else if (how < 250) {
        page->connection = in_u8() & 1;
    } else {
        ((uint8_t *)page)[in_u16() % sizeof *page] = in_u8();
    }
}

bool xen_evtchn_wait(xen_port_t port, uint64_t deadline_ns) {
    for (;;) {
        if (in_left() > 0) {
            serve();
        }
        if (xen_evtchn_take(port)) {
            return true;
        }
        if (now >= deadline_ns) {
            return false;
        }
        now += in_left() > 0 ? 100000000 : 1000000000;
    }
}

static void fired(void *arg) {
    (void)arg;
    fired_count++;
}

static void verb(unsigned what) {
    size_t size = in_u8();
    char *out = in_space(size);
    xen_watch_t *w = &watches[in_below(WATCHES)];
    uint64_t number = 0;
    xen_tx_t tx;
    int n;
    if (what == 0) {
        n = xen_store_read(0, "a", out, size);
        FUZZ_CHECK(n <= XEN_STORE_PAYLOAD_MAX);
        FUZZ_CHECK(n < 0 || size == 0 || out[(size_t)n < size ? (size_t)n : size - 1] == '\0');
    } else if (what == 1) {
        n = xen_store_list(0, "a", out, size);
        FUZZ_CHECK(n <= (int)size && (n <= 0 || out[n - 1] == '\0'));
    } else if (what == 2) {
        FUZZ_CHECK(xen_store_read_u64(0, "a", 1000, &number) != 0 || number <= 1000);
    } else if (what == 3) {
        FUZZ_CHECK(xen_store_begin(&tx) != 0 || tx != 0);
    } else if (what == 4 && w->path == NULL) {
        *w = (xen_watch_t){.path = "k", .fired = fired};
        w->path = xen_store_watch(w) == 0 ? "k" : NULL;
    } else if (what == 4) {
        xen_store_unwatch(w);
        w->path = NULL;
    } else if (what == 5) {
        static char long_one[3000];
        memset(long_one, 'v', sizeof long_one - 1);
        xen_store_write(0, "a", long_one);
    } else if (what == 6) {
        xen_store_end(1, true);
    } else if (source != NULL) {
        source->run(source->arg);
        source->arm(source->arg);
    }
}

void fuzz_one(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    FUZZ_CHECK(mmap(page, HAL_PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0) == page);
    while (in_left() > 0) {
        uint64_t before = now;
        verb(in_below(8));
        FUZZ_CHECK(now - before < 60000000000ull);
    }
}
