// SPDX-License-Identifier: MIT
// checks.c's "path_mtu": an IPv6 path becomes narrower under a connection whose checksums the card completes. The
// segment that was too large comes again in fragments, with a sum that is right; later ones fit. Owns the peer's
// state. Not here: the machine (rig.c). Context: one thread on the host.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "lwip/netif.h"
#include "netcfg.h"
#include "rig.h"
#include "sock.h"

#define CHECK(e) ((e) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #e), abort()))

enum { PORT = 80, ETH = 14, IP = 40, NEXT_TCP = 6, NEXT_FRAGMENT = 44, NEXT_ICMP = 58, NARROW = 1300, LEN = 1400 };

static const uint8_t us[16] = {0x20, 1, 0x0d, 0xb8, [15] = 2}, them[16] = {0x20, 1, 0x0d, 0xb8, [15] = 1};
static uint16_t port;             // the stack's
static uint32_t seq = 5000, next; // what we say, what we expect
static uint8_t large[2048];       // the IP packet that was too large
static uint32_t large_len, got, fragments, fragment_id, widest;
static uint8_t whole[4096];       // fragments, put together
static bool answered, open, wide; // wide: the path takes what the card does

static uint32_t pseudo6(uint8_t protocol, uint32_t len) {
    uint32_t sum = protocol + len;
    for (unsigned i = 0; i < 16; i += 2) {
        sum += get16(us + i) + get16(them + i);
    }
    return sum;
}

static void send6(uint8_t protocol, uint8_t *payload, uint32_t len, unsigned sum_at) {
    uint8_t frame[2100] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60};
    put16(payload + sum_at, 0);
    put16(payload + sum_at, naive_sum(payload, len, pseudo6(protocol, len)));
    put16(frame + ETH + 4, len);
    frame[ETH + 6] = protocol;
    frame[ETH + 7] = 255;
    memcpy(frame + ETH + 8, them, 16);
    memcpy(frame + ETH + 24, us, 16);
    memcpy(frame + ETH + IP, payload, len);
    rig_receive(frame, ETH + IP + len, false, 1);
}

static void send_tcp(uint8_t flags) {
    uint8_t t[24] = {0, PORT};
    unsigned len = flags & TH_SYN ? 24 : 20;
    put16(t + 2, port);
    put32(t + 4, seq);
    put32(t + 8, next);
    t[12] = (uint8_t)(len / 4 << 4);
    t[13] = flags;
    put16(t + 14, 60000);
    memcpy(t + 20, "\2\4\x05\xa0", 4); // MSS 1440
    send6(NEXT_TCP, t, len, 16);
    seq += (flags & TH_SYN) != 0;
}

static void send_neighbour(void) {
    uint8_t na[32] = {136, 0, 0, 0, 0x60};
    memcpy(na + 8, them, 16);
    memcpy(na + 24, "\2\1\2\0\0\0\0\1", 8);
    send6(NEXT_ICMP, na, sizeof na, 2);
}

static void send_too_big(uint32_t mtu) {
    uint8_t ptb[8 + 1232] = {2};
    put32(ptb + 4, mtu);
    memcpy(ptb + 8, large, sizeof ptb - 8);
    send6(NEXT_ICMP, ptb, sizeof ptb, 2);
}

static void take_tcp(const uint8_t *t, uint32_t len) {
    uint32_t data = len - (t[12] >> 4) * 4u;
    if (t[13] & TH_SYN) {
        port = get16(t);
        next = get32(t + 4) + 1;
        send_tcp(TH_SYN | TH_ACK);
    } else if (data > 0 && get32(t + 4) == next) {
        next += data;
        got += data;
        send_tcp(TH_ACK);
    }
    open |= (t[13] & TH_SYN) == 0;
}

static void take_fragment(const uint8_t *f, uint32_t len) {
    uint32_t at = get16(f + 2) & ~7u, size = len - 8;
    CHECK(at + size <= sizeof whole);
    memcpy(whole + at, f + 8, size);
    fragments++;
    fragment_id = get32(f + 4);
    if ((f[3] & 1) == 0) { // the last one
        CHECK(naive_sum(whole, at + size, pseudo6(NEXT_TCP, at + size)) == 0);
        take_tcp(whole, at + size);
    }
}

static void sees(const sent_t *f) {
    const uint8_t *ip = f->data + ETH;
    if (get16(f->data + 12) != 0x86dd) {
        return;
    }
    uint32_t len = get16(ip + 4);
    if (ip[6] == NEXT_ICMP && ip[IP] == 135 && memcmp(ip + IP + 8, them, 16) == 0) {
        send_neighbour();
    } else if (ip[6] == NEXT_FRAGMENT) {
        CHECK(!f->csum_needed && IP + len <= NARROW);
        take_fragment(ip + IP, len);
    } else if (ip[6] == NEXT_TCP && IP + len > NARROW && !wide) {
        CHECK(!answered && f->csum_needed); // nothing as large as this comes a second time
        memcpy(large, ip, IP + len);
        large_len = IP + len;
        answered = true;
        send_too_big(NARROW);
    } else if (ip[6] == NEXT_TCP) {
        CHECK(f->csum_needed);
        widest = answered && IP + len > widest ? IP + len : widest;
        take_tcp(ip + IP, len);
    }
}

static sock_t *connected(void) {
    rig_start(32 << 20, NETDEV_F_TX_CSUM);
    on_sent = sees;
    ip_addr_t own;
    sock_addr_t to = {.port = PORT};
    CHECK(ipaddr_aton("2001:db8::2", &own) && ipaddr_aton("2001:db8::1", &to.ip));
    CHECK(netcfg_set_ip6(netif_default, ip_2_ip6(&own)));
    sock_t *s = sock_new(SOCK_AF_INET6, SOCK_TYPE_STREAM);
    CHECK(sock_connect(s, &to) == -EINPROGRESS);
    rig_sleep_ms(3000);
    CHECK(open && sock_connect_state(s) == 0);
    return s;
}

void path_mtu(void) {
    sock_t *s = connected();
    static uint8_t data[LEN];
    CHECK(sock_send(s, data, LEN, NULL) == LEN);
    rig_sleep_ms(10000);
    CHECK(large_len == IP + 20 + LEN && fragments == 2 && got == LEN);
    CHECK(fragment_id > 1000); // not counted, RFC 7739
    for (unsigned i = 0; i < 5; i++) {
        CHECK(sock_send(s, data, LEN, NULL) == LEN);
        rig_sleep_ms(1000);
    }
    CHECK(got == 6 * LEN && fragments == 2 && widest == NARROW);
    sock_close(s);
}

// Nobody's path: fragments of it would hold nothing, and there would be no end of them.
void path_mtu_lie(void) {
    static const uint32_t lies[] = {0, 39, 48, 52, 60, 68, 1279};
    static uint8_t data[LEN];
    sock_t *s = connected();
    wide = true;
    large[0] = 0x60;
    memcpy(large + 8, us, 16);
    memcpy(large + 24, them, 16);
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        send_too_big(lies[i]);
        CHECK(sock_send(s, data, LEN, NULL) == LEN);
        rig_sleep_ms(10000);
        CHECK(got == (i + 1) * LEN);
    }
    sock_close(s);
}
