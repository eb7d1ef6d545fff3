// SPDX-License-Identifier: MIT
// The machine of rig.h: hal.h's functions as far as the stack calls them, and a network card in memory.
// A received frame lies in a heap block of its size, so that the sanitizer sees who reads past it.
// Owns the card's buffers. Not here: what is tested. Context: one thread on the host.

#include "rig.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "netstack.h"

// lwIP looks at the first bytes of an IPv6 extension header before it checks that they are there. Real buffers
// are longer than their frames.
enum { SLACK = 8 };

typedef struct rx {
    uint8_t *seg[NETDEV_MAX_SEGS];
    uint32_t len[NETDEV_MAX_SEGS];
    unsigned nsegs;
    bool csum_good;
    struct rx *next;
} rx_t;

netdev_t card;
const char *boot_ip = "10.0.0.2/24,gw=10.0.0.1,dns=10.0.0.1", *boot_ip6;
unsigned rx_lent;
unsigned tx_pending;
bool tx_stuck;
char said[4096];
bool said_expected;
void (*on_sent)(const sent_t *f);

static rx_t *rx_head, *rx_tail;
static void *tx_ring[TX_RING];
static bool tx_refused;
static hal_event_source_t *source;
static uint64_t now_ns = 1000000000;
static size_t ram_bytes;
static uint32_t state = 1;

uint32_t rnd(void) { // xorshift: the same run for the same seed
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

uint32_t rnd_below(uint32_t n) { return rnd() % n; }

void rnd_seed(uint32_t seed) { state = seed * 2654435761u | 1; }

// ---- hal.h --------------------------------------------------------------------------------------

uint64_t hal_clock_ns(void) { return now_ns; }
uint64_t hal_clock_wall_ns(void) { return now_ns; }
uint64_t hal_clock_cycles(void) { return now_ns; }
size_t hal_mem_total(void) { return ram_bytes; }
void hal_event_add(hal_event_source_t *s) { source = s; }
void hal_console_log(const void *data, size_t len) {
    if (!said_expected) {
        fwrite(data, 1, len, stdout); // the test takes nothing but "ok"
    }
    if (strlen(said) + len < sizeof said) {
        memcpy(said + strlen(said), data, len);
    }
}

bool hal_entropy_get(void *out, size_t len) {
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = (uint8_t)rnd();
    }
    return true;
}

int hal_cmdline_next(const char *key, size_t *pos, char *out, size_t size) {
    const char *word = strcmp(key, "ip") == 0 ? boot_ip : strcmp(key, "ip6") == 0 ? boot_ip6 : NULL;
    if (word == NULL || *pos != 0) {
        return -ENOENT;
    }
    *pos = 1;
    return snprintf(out, size, "%s", word);
}

_Noreturn void hal_panic(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("PANIC: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    abort();
}

// ---- the card -----------------------------------------------------------------------------------

static int rx_take(netdev_t *n, netdev_frame_t *out) {
    (void)n;
    rx_t *r = rx_head;
    if (r == NULL || rx_lent == RX_BUFFERS) {
        return -EAGAIN;
    }
    rx_head = r->next;
    if (rx_head == NULL) {
        rx_tail = NULL;
    }
    memset(out, 0xa5, sizeof *out);
    out->nsegs = (uint16_t)r->nsegs;
    for (unsigned i = 0; i < r->nsegs; i++) {
        out->seg[i] = (netdev_seg_t){r->seg[i], r->len[i]};
    }
    out->csum_good = r->csum_good;
    out->cookie = r;
    rx_lent++;
    return 0;
}

static void rx_return(netdev_t *n, void *cookie) {
    (void)n;
    rx_t *r = cookie;
    for (unsigned i = 0; i < r->nsegs; i++) {
        free(r->seg[i]);
    }
    free(r);
    assert(rx_lent > 0);
    rx_lent--;
}

static int tx_provide(netdev_t *n, const netdev_frame_t *f) {
    (void)n;
    static sent_t s;
    if (tx_pending == TX_RING) {
        tx_refused = true;
        return -EAGAIN;
    }
    assert(f->nsegs > 0 && f->nsegs <= NETDEV_MAX_SEGS);
    s.len = 0;
    for (unsigned i = 0; i < f->nsegs; i++) {
        assert(s.len + f->seg[i].len <= sizeof s.data);
        memcpy(s.data + s.len, f->seg[i].base, f->seg[i].len);
        s.len += f->seg[i].len;
    }
    s.csum_start = f->csum_start;
    s.csum_offset = f->csum_offset;
    s.gso_size = f->gso_size;
    s.hdr_len = f->hdr_len;
    s.gso = f->gso;
    s.csum_needed = f->csum_needed;
    tx_ring[tx_pending++] = f->cookie;
    if (s.len >= 42 && get16(s.data + 12) == 0x0806 && get16(s.data + 20) == 1 && get32(s.data + 38) == PEER_IP) {
        uint8_t arp[64];
        rig_receive(arp, make_arp(arp, 2, PEER_IP), false, 1);
    }
    if (on_sent != NULL) {
        on_sent(&s);
    }
    return 0;
}

// In any order: the last may come back first.
static void *tx_return(netdev_t *n) {
    (void)n;
    if (tx_pending == 0 || tx_stuck) {
        return NULL;
    }
    unsigned i = rnd_below(tx_pending);
    void *cookie = tx_ring[i];
    tx_ring[i] = tx_ring[--tx_pending];
    tx_refused = false;
    return cookie;
}

static void kick(netdev_t *n) { n->stats.kicks++; }

static bool arm(netdev_t *n) {
    return (rx_head != NULL && rx_lent < RX_BUFFERS && !n->rx_paused) || (tx_refused && !tx_stuck);
}

static bool link_up(netdev_t *n) { return !n->dead; }

static const netdev_ops_t ops = {rx_take, rx_return, tx_provide, tx_return, kick, arm, link_up};

// ---- running ------------------------------------------------------------------------------------

void rig_start(size_t ram, uint32_t features) {
    ram_bytes = ram;
    card.ops = &ops;
    card.driver = "rig";
    card.mtu = 1500;
    card.rx_buffers = RX_BUFFERS;
    card.features = features;
    memcpy(card.mac, "\x02\0\0\0\0\2", NETDEV_MAC_LEN);
    assert(netdev_register(&card) == 0);
    netstack_start();
    uint8_t arp[64];
    rig_receive(arp, make_arp(arp, 2, PEER_IP), false, 1); // so that answers find their way
    rig_run();
}

bool rig_run(void) { return source->run(source->arg); }

void rig_sleep_ms(unsigned ms) {
    uint64_t end = now_ns + ms * 1000000ull;
    while (now_ns < end) {
        while (rig_run() || source->arm(source->arg)) {
        }
        uint64_t step = now_ns + 10000000;
        uint64_t due = source->deadline(source->arg);
        step = due < step ? due : step;
        now_ns = step < end ? step : end;
        now_ns += 1; // time never stands still
    }
}

void rig_receive(const uint8_t *data, uint32_t len, bool csum_good, unsigned nsegs) {
    rx_t *r = calloc(1, sizeof *r);
    uint32_t done = 0;
    for (unsigned i = 0; i < nsegs; i++) {
        uint32_t n = i + 1 == nsegs ? len - done : (len - done) / 2;
        r->seg[i] = malloc(n + SLACK);
        memcpy(r->seg[i], data + done, n);
        memset(r->seg[i] + n, (int)rnd(), SLACK);
        r->len[i] = n;
        done += n;
    }
    r->nsegs = nsegs;
    r->csum_good = csum_good;
    if (rx_tail != NULL) {
        rx_tail->next = r;
    } else {
        rx_head = r;
    }
    rx_tail = r;
}

// ---- frames -------------------------------------------------------------------------------------

uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
void put16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
void put32(uint8_t *p, uint32_t v) {
    put16(p, v >> 16);
    put16(p + 2, v);
}

uint16_t naive_sum(const uint8_t *p, size_t len, uint32_t start) {
    uint64_t sum = start;
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

uint32_t make_ip4(uint8_t *out, uint8_t proto, uint32_t src, const void *payload, uint32_t len) {
    static uint16_t id;
    memcpy(out, "\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0", 14);
    uint8_t *ip = out + 14;
    memset(ip, 0, 20);
    ip[0] = 0x45;
    put16(ip + 2, 20 + len);
    put16(ip + 4, ++id);
    ip[8] = 64;
    ip[9] = proto;
    put32(ip + 12, src);
    put32(ip + 16, OUR_IP);
    put16(ip + 10, naive_sum(ip, 20, 0));
    memmove(ip + 20, payload, len);
    return 34 + len;
}

static uint32_t pseudo(uint32_t src, uint32_t dst, uint8_t proto, uint32_t len) {
    return (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) + proto + len;
}

uint32_t make_tcp(uint8_t *out, uint32_t src, const tcp_t *t, const void *payload, uint32_t len) {
    uint8_t seg[20 + 8 + 2048];
    unsigned hlen = t->flags & TH_SYN ? 28 : 20;
    memset(seg, 0, hlen);
    put16(seg, t->src);
    put16(seg + 2, t->dst);
    put32(seg + 4, t->seq);
    put32(seg + 8, t->ack);
    seg[12] = (uint8_t)(hlen / 4 << 4);
    seg[13] = t->flags;
    put16(seg + 14, t->window);
    if (t->flags & TH_SYN) {
        memcpy(seg + 20, "\2\4\x05\xb4\1\3\3\7", 8); // MSS 1460, window scale 7
    }
    if (len > 0) {
        memcpy(seg + hlen, payload, len);
    }
    put16(seg + 16, naive_sum(seg, hlen + len, pseudo(src, OUR_IP, 6, hlen + len)));
    return make_ip4(out, 6, src, seg, hlen + len);
}

uint32_t make_udp(uint8_t *out, uint16_t src, uint16_t dst, const void *payload, uint32_t len) {
    uint8_t seg[8 + 2048] = {0};
    put16(seg, src);
    put16(seg + 2, dst);
    put16(seg + 4, 8 + len);
    memcpy(seg + 8, payload, len);
    put16(seg + 6, naive_sum(seg, 8 + len, pseudo(PEER_IP, OUR_IP, 17, 8 + len)));
    return make_ip4(out, 17, PEER_IP, seg, 8 + len);
}

uint32_t make_arp(uint8_t *out, uint16_t op, uint32_t sender) {
    memcpy(out, "\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\6\0\1\x08\0\6\4\0\0\x02\0\0\0\0\1", 28);
    put16(out + 20, op);
    put32(out + 28, sender);
    memcpy(out + 32, "\x02\0\0\0\0\2", 6);
    put32(out + 38, OUR_IP);
    return 42;
}

bool read_tcp(const sent_t *f, tcp_t *t, uint32_t *payload_len) {
    if (f->len < 54 || get16(f->data + 12) != 0x0800 || f->data[23] != 6) {
        return false;
    }
    const uint8_t *seg = f->data + 34;
    *t = (tcp_t){get16(seg), get16(seg + 2), get32(seg + 4), get32(seg + 8), get16(seg + 14), seg[13]};
    *payload_len = get16(f->data + 16) - 20u - (seg[12] >> 4) * 4u;
    return true;
}
