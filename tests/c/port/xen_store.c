// SPDX-License-Identifier: MIT
// port/xen/store.c over a ring whose other end can lie. The other end works whenever the client waits, as far as the
// rings let it. Commands: the verbs of xen.h (read PATH SIZE, num PATH MAX, write PATH VALUE TX, rm, list PATH SIZE,
// begin, end TX COMMIT, watch NAME PATH, unwatch NAME; basic NAME PATH: such a watch), run (a turn of the main loop),
// arm; alone 0|1 (in hal_event_wait_one); set PATH VALUE, unset, get (the store itself), touch NAME (a watch event);
// fault NAME AT: what is wrong with answer AT, from 0; anew: in another domain; left: until its deadline; sleep NS;
// step N: bytes moved at a time; param PFN PORT; clock; asked: requests seen; fuzz SEED COUNT.

#include "talk.h"

#include <sys/mman.h>

#include "../support/fuzz_lives.c"
#include "hal/hal.h"

#include "xen/store.c"

enum { PAGE_AT = 0x20000000, PORT = 3, KEYS = 64, WATCHES = 4, OUT_MAX = 1 << 20 };

static xs_page_t *page = (xs_page_t *)PAGE_AT;
static int64_t param_pfn = PAGE_AT / HAL_PAGE_SIZE, param_port = PORT;
static uint64_t now;
static hal_event_source_t *source;
static bool pending, quiet;
bool hal_event_alone;

static struct {
    char *path, *value;
} keys[KEYS];
static xen_watch_t watches[WATCHES];
static struct {
    uint32_t len; // 0: none
    char body[64];
} set_watches[WATCHES];
static struct {
    uint8_t in[16 + XEN_STORE_PAYLOAD_MAX + 1];
    size_t in_len;
    uint8_t out[OUT_MAX];
    size_t out_len, out_at;
    uint32_t req_cons, rsp_prod, step;
    unsigned answers, fault_at, requests;
    char fault[32];
    bool lied;
} server = {.step = RING, .fault_at = ~0u};

// ---- the machine ---------------------------------------------------------------------------------

uint64_t hal_clock_ns(void) { return now += 1000; }
void hal_console_log(const void *data, size_t len) {
    if (!quiet) {
        printf("LOG %.*s", (int)len, (const char *)data);
    }
}
void hal_event_add(hal_event_source_t *s) { source = s; }
int64_t xen_param(unsigned index) { return index == XEN_PARAM_STORE_PFN ? param_pfn : param_port; }
void xen_evtchn_unmask(xen_port_t port) { (void)port; }
void xen_evtchn_notify(xen_port_t port) { (void)port; }

bool xen_evtchn_take(xen_port_t port) {
    bool was = pending;
    pending = false;
    return port == PORT && was;
}

static void serve(void);

bool xen_evtchn_wait(xen_port_t port, uint64_t deadline_ns) {
    for (;;) {
        serve();
        if (xen_evtchn_take(port)) {
            return true;
        }
        if (now >= deadline_ns) {
            return false;
        }
        now += 1000000;
    }
}

// ---- the other end -------------------------------------------------------------------------------

static void say(uint32_t type, uint32_t id, uint32_t len, const void *body, size_t sent) {
    uint32_t h[4] = {type, id, 0, len};
    if (server.out_len + sizeof(h) + sent <= OUT_MAX) {
        memcpy(server.out + server.out_len, h, sizeof(h));
        memcpy(server.out + server.out_len + sizeof(h), body, sent);
        server.out_len += sizeof(h) + sent;
    }
}

static int key_of(const char *path) {
    for (int i = 0; i < KEYS; i++) {
        if (keys[i].path != NULL && strcmp(keys[i].path, path) == 0) {
            return i;
        }
    }
    return -1;
}

static void set_key(const char *path, const char *value) {
    int i = key_of(path);
    for (int k = 0; k < KEYS && i < 0; k++) {
        i = keys[k].path == NULL ? k : i;
    }
    free(keys[i].path), free(keys[i].value);
    keys[i].path = value == NULL ? NULL : strdup(path);
    keys[i].value = value == NULL ? NULL : strdup(value);
}

// Set or remove a watch: path and token. Whether it was there before.
static bool set_watch(bool on, const char *body, uint32_t len) {
    int room = -1;
    for (int i = 0; i < WATCHES; i++) {
        if (set_watches[i].len == len && memcmp(set_watches[i].body, body, len) == 0) {
            set_watches[i].len = on ? len : 0;
            return true;
        }
        room = set_watches[i].len == 0 ? i : room;
    }
    if (on && room >= 0 && len <= sizeof(set_watches[room].body)) {
        set_watches[room].len = len;
        memcpy(set_watches[room].body, body, len);
    }
    return false;
}

static bool faulty(const char *name) { return server.fault_at < server.answers && strcmp(server.fault, name) == 0; }

// One answer, with what may be wrong with it.
static void answer(uint32_t type, uint32_t id, const void *body, size_t len) {
    bool here = server.answers++ == server.fault_at;
    const char *fault = here ? server.fault : "";
    uint32_t told = (uint32_t)len;
    server.lied |= here;
    if (strcmp(fault, "silent") == 0 || faulty("silence") || faulty("flood")) {
        return;
    } else if (strcmp(fault, "id") == 0) {
        id += 7;
    } else if (strcmp(fault, "type") == 0) {
        type = type == XS_READ ? XS_WRITE : XS_READ;
    } else if (strcmp(fault, "long") == 0) {
        told = XEN_STORE_PAYLOAD_MAX + 1;
    } else if (strcmp(fault, "huge") == 0) {
        told = 0xffffffff;
    } else if (strcmp(fault, "more") == 0) {
        told = (uint32_t)len + 9;                                   // than is sent
    } else if (strcmp(fault, "eagain") == 0 || faulty("eagains")) { // once, or from then on
        type = XS_ERROR, body = "EAGAIN", told = (uint32_t)(len = 7);
    } else if (strcmp(fault, "error") == 0) {
        type = XS_ERROR, body = "EWHATEVER", told = (uint32_t)(len = 10);
    } else if (strcmp(fault, "error_open") == 0) {
        type = XS_ERROR, body = "ENOENTX", told = (uint32_t)(len = 6); // no NUL behind it
    } else if (strcmp(fault, "none") == 0) {
        told = (uint32_t)(len = 0);
    } else if (strcmp(fault, "open") == 0) {
        body = "abc", told = (uint32_t)(len = 3);
    } else if (strcmp(fault, "zero") == 0) {
        body = "0", told = (uint32_t)(len = 2);
    } else if (strcmp(fault, "word") == 0) {
        body = "12x", told = (uint32_t)(len = 4);
    } else if (strcmp(fault, "before") == 0) { // others' answers, events of nobody, then the right one
        for (uint32_t i = 1; i < 90; i++) {
            say(XS_READ, id + i, 3, "abc", 3);
            say(XS_WATCH_EVENT, 0, 6, "p\0abc", 6);
        }
    } else if (strcmp(fault, "event") == 0) {
        say(XS_WATCH_EVENT, 0, 4, "path", 4);
    } else if (strcmp(fault, "event_half") == 0) {
        say(XS_WATCH_EVENT, 0, 8, "path\0tok", 8);
    } else if (strcmp(fault, "event_empty") == 0) {
        say(XS_WATCH_EVENT, 0, 0, "", 0);
    } else if (strcmp(fault, "cut") == 0) {
        server.out_len += 5; // of a header
        return;
    }
    say(type, id, told, body, len);
}

static void request(void) {
    xs_header_t h;
    memcpy(&h, server.in, sizeof(h));
    server.in[sizeof(h) + h.len] = '\0';
    const char *path = (const char *)server.in + sizeof(h), *rest = path + strlen(path) + 1;
    int key = key_of(path);
    server.requests++;
    if (h.type == XS_READ && key >= 0) {
        answer(h.type, h.id, keys[key].value, strlen(keys[key].value));
    } else if (h.type == XS_WRITE) {
        set_key(path, rest);
        answer(h.type, h.id, "OK", 3);
    } else if (h.type == XS_RM && key >= 0) {
        set_key(path, NULL);
        answer(h.type, h.id, "OK", 3);
    } else if (h.type == XS_DIRECTORY && key >= 0) { // its value, with NULs for commas
        char *names = strdup(keys[key].value);
        size_t len = strlen(names);
        for (size_t i = 0; i < len; i++) {
            names[i] = names[i] == ',' ? '\0' : names[i];
        }
        answer(h.type, h.id, names, len > 0 && names[len - 1] != '\0' ? len + 1 : len);
        free(names);
    } else if (h.type == XS_TRANSACTION_START) {
        answer(h.type, h.id, "77", 3);
    } else if (h.type == XS_TRANSACTION_END) {
        h.tx == 77 ? answer(h.type, h.id, "OK", 3) : answer(XS_ERROR, h.id, "EAGAIN", 7);
    } else if (h.type == XS_UNWATCH) {
        set_watch(false, path, h.len);
        answer(h.type, h.id, "OK", 3);
    } else if (h.type == XS_WATCH && set_watch(true, path, h.len)) {
        answer(XS_ERROR, h.id, "EEXIST", 7);
    } else if (h.type == XS_WATCH) {
        answer(h.type, h.id, "OK", 3);
        say(XS_WATCH_EVENT, 0, h.len, path, h.len);
    } else {
        answer(XS_ERROR, h.id, "ENOENT", 7);
    }
}

static void serve(void) {
    now += 200000;
    if (faulty("deaf") || page->connection != 0) {
        return;
    }
    for (uint32_t n = 0; n < server.step && server.req_cons != page->req_prod; n++) {
        if (server.in_len == sizeof(server.in) - 1) {
            server.in_len = 0; // somebody wrote over a header
        }
        server.in[server.in_len++] = page->req[server.req_cons++ % RING];
        pending = true;
        xs_header_t h;
        memcpy(&h, server.in, sizeof(h));
        if (server.in_len >= sizeof(h) && server.in_len == sizeof(h) + h.len) {
            server.in_len = 0;
            request();
        }
    }
    page->req_cons = faulty("req_jump") ? page->req_prod + 1 : server.req_cons;
    for (uint32_t n = 0; n < server.step && server.out_at < server.out_len; n++) {
        if (server.rsp_prod - page->rsp_cons >= RING) {
            break;
        }
        page->rsp[server.rsp_prod++ % RING] = server.out[server.out_at++];
        pending = true;
    }
    if (server.out_at == server.out_len) {
        server.out_at = server.out_len = 0;
        if (faulty("flood")) {
            for (int i = 0; i < 100; i++) {
                say(XS_READ, 1u << 30, 3, "abc", 3);
            }
        }
    }
    page->rsp_prod = faulty("rsp_jump") ? server.rsp_prod + RING + 1 : server.rsp_prod;
}

// ---- random lives --------------------------------------------------------------------------------

static unsigned fired_count;
static void fired(void *arg) {
    fired_count++;
    if (!quiet) {
        printf("fired %s\n", (const char *)arg);
    }
}

// An honest end, then one that lies, or one that writes over the page as it likes.
static void life(void) {
    static const char *const faults[] = {"silent",     "id",          "type", "long", "huge",  "more",     "error",
                                         "none",       "error_open",  "open", "zero", "word",  "before",   "event",
                                         "event_half", "event_empty", "cut",  "deaf", "flood", "req_jump", "rsp_jump"};
    char out[200];
    bool scribbles = fuzz_pick(3) == 0;
    quiet = true;
    server.step = fuzz_pick(3) == 0 ? 1 + fuzz_pick(40) : RING;
    strcpy(server.fault, faults[fuzz_pick(HAL_ARRAY_LEN(faults))]);
    server.fault_at = fuzz_pick(60);
    for (unsigned step = 0; step < 80; step++) {
        char path[16], value[3000];
        uint64_t number, before = now;
        xen_tx_t tx;
        unsigned len = fuzz_pick(4) == 0 ? fuzz_pick(sizeof(value)) : fuzz_pick(20), k = fuzz_pick(WATCHES);
        snprintf(path, sizeof(path), "k%u", fuzz_pick(8));
        memset(value, 'a' + (char)fuzz_pick(26), len), value[len] = '\0';
        if (scribbles && fuzz_pick(10) == 0) {
            server.lied = true;
            for (unsigned i = 0; i < fuzz_pick(300); i++) {
                ((uint8_t *)page)[fuzz_pick(fuzz_pick(2) ? sizeof(*page) : 2 * RING)] = (uint8_t)fuzz_pick(256);
            }
        }
        int r = 0;
        switch (fuzz_pick(8)) {
            case 0:
                r = xen_store_write(0, path, value);
                FUZZ_CHECK(server.lied || r == 0);
                r = xen_store_read(0, path, out, sizeof(out));
                FUZZ_CHECK(server.lied || r == (int)len);
                FUZZ_CHECK(server.lied || memcmp(out, value, len < sizeof(out) ? len : sizeof(out) - 1) == 0);
                break;
            case 1:
                r = xen_store_read(0, path, out, fuzz_pick(sizeof(out)));
                break;
            case 2:
                r = xen_store_read_u64(0, path, 1000, &number);
                break;
            case 3:
                r = xen_store_list(0, path, out, sizeof(out));
                break;
            case 4:
                r = xen_store_begin(&tx);
                r = r == 0 ? xen_store_end(tx, fuzz_pick(2)) : r;
                break;
            case 5:
                if (watches[k].path == NULL) {
                    watches[k] = (xen_watch_t){.path = "k1", .fired = fired};
                    watches[k].path = xen_store_watch(&watches[k]) == 0 ? "k1" : NULL;
                } else {
                    xen_store_unwatch(&watches[k]);
                    watches[k].path = NULL;
                }
                break;
            case 6:
                serve();
                source != NULL ? source->run(NULL) : false;
                break;
            default:
                source != NULL ? source->arm(NULL) : false;
        }
        FUZZ_CHECK(now - before < 12 * ANSWER_NS / 5 && r <= XEN_STORE_PAYLOAD_MAX);
        FUZZ_CHECK(xs.down == 0 || server.lied);
    }
}

// ---- commands ------------------------------------------------------------------------------------

static xen_watch_t *watch_of(const char *name) { return &watches[(unsigned)(name[0] - 'a') % WATCHES]; }

static void verb(const talk_t *t) {
    xen_tx_t tx = 0;
    const char *path = t->n > 1 ? t->word[1] : "";
    size_t size = t->n > 2 ? (size_t)talk_number(t, 2) : 0;
    char *out = malloc(size + 1); // the sanitizer watches its end
    if (talk_is(t, "read")) {
        int n = xen_store_read(0, path, out, size);
        printf("%d %s\n", n, n >= 0 && size > 0 ? out : "");
    } else if (talk_is(t, "num")) {
        uint64_t v = 0;
        int err = xen_store_read_u64(0, path, talk_number(t, 2), &v);
        printf("%d %llu\n", err, (unsigned long long)v);
    } else if (talk_is(t, "write")) {
        printf("%d\n", xen_store_printf((xen_tx_t)talk_number(t, 3), path, "%s", t->word[2]));
    } else if (talk_is(t, "long")) { // PATH BYTES
        memset(out, 'x', size), out[size] = '\0';
        printf("%d\n", xen_store_write(0, path, out));
    } else if (talk_is(t, "rm")) {
        printf("%d\n", xen_store_remove(0, path));
    } else if (talk_is(t, "list")) {
        int n = xen_store_list(0, path, out, size);
        printf("%d", n);
        for (int i = 0; i < n; i += (int)strlen(out + i) + 1) {
            printf(" %s", out + i);
        }
        printf("\n");
    } else if (talk_is(t, "begin")) {
        int err = xen_store_begin(&tx);
        printf("%d %u\n", err, tx);
    } else if (talk_is(t, "end")) {
        printf("%d\n", xen_store_end((xen_tx_t)talk_number(t, 1), talk_number(t, 2) != 0));
    } else if (talk_is(t, "watch") || talk_is(t, "basic")) {
        char *name = strdup(path);
        *watch_of(name) = (xen_watch_t){.path = strdup(t->word[2]), .fired = fired, .arg = name};
        watch_of(name)->basic = talk_is(t, "basic");
        printf("%d\n", xen_store_watch(watch_of(name)));
    } else if (talk_is(t, "unwatch")) {
        xen_store_unwatch(watch_of(path));
    }
    free(out);
}

static void command(const talk_t *t) {
    if (talk_is(t, "alone")) {
        hal_event_alone = talk_number(t, 1) != 0;
    } else if (talk_is(t, "run")) {
        serve();
        printf("%d\n", source->run(source->arg));
    } else if (talk_is(t, "arm")) {
        printf("%d\n", source->arm(source->arg));
    } else if (talk_is(t, "set")) {
        set_key(t->word[1], t->n > 2 ? t->word[2] : "");
    } else if (talk_is(t, "unset")) {
        set_key(t->word[1], NULL);
    } else if (talk_is(t, "get")) {
        int i = key_of(t->word[1]);
        printf("%s\n", i < 0 ? "none" : keys[i].value);
    } else if (talk_is(t, "touch")) {
        char body[64];
        int n = snprintf(body, sizeof(body), "p%c%lx", 0, (unsigned long)(uintptr_t)watch_of(t->word[1])) + 1;
        say(XS_WATCH_EVENT, 0, (uint32_t)n, body, (size_t)n);
    } else if (talk_is(t, "fault")) {
        strncpy(server.fault, t->word[1], sizeof(server.fault) - 1);
        server.fault_at = server.answers + (unsigned)talk_number(t, 2);
    } else if (talk_is(t, "anew")) { // a ring of zeros, and a store that has heard of no watch
        memset(page, 0, sizeof(*page));
        memset(set_watches, 0, sizeof(set_watches));
        server.req_cons = server.rsp_prod = 0;
        server.in_len = server.out_len = server.out_at = 0;
        xen_store_anew();
    } else if (talk_is(t, "left")) { // ns until it wants to run by itself; -1: it does not
        uint64_t at = source->deadline(source->arg);
        printf("%lld\n", at == UINT64_MAX ? -1 : at > now ? (long long)(at - now) : 0);
    } else if (talk_is(t, "sleep")) { // NS
        now += talk_number(t, 1);
    } else if (talk_is(t, "step")) {
        server.step = (uint32_t)talk_number(t, 1);
    } else if (talk_is(t, "param")) {
        param_pfn = strtoll(t->word[1], NULL, 0), param_port = strtoll(t->word[2], NULL, 0);
    } else if (talk_is(t, "connection")) {
        page->connection = (uint32_t)talk_number(t, 1);
    } else if (talk_is(t, "indices")) { // where the rings begin
        page->req_prod = page->req_cons = server.req_cons = (uint32_t)talk_number(t, 1);
        page->rsp_prod = page->rsp_cons = server.rsp_prod = (uint32_t)talk_number(t, 1);
    } else if (talk_is(t, "clock")) {
        printf("%llu\n", (unsigned long long)now);
    } else if (talk_is(t, "asked")) {
        printf("%u\n", server.requests);
    } else if (talk_is(t, "fuzz")) {
        printf("%d\n", fuzz_lives(life, talk_number(t, 1), talk_number(t, 2)));
    } else {
        verb(t);
    }
}

int main(void) {
    if (mmap(page, HAL_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page) {
        return 1;
    }
    return talk(command);
}
