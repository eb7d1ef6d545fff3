// SPDX-License-Identifier: MIT
// Random traffic against the whole stack: valid frames of every protocol it speaks, mutated more or less, while
// sockets are opened, used and closed at random and memory runs out at times. ./fuzz SEED FRAMES. What is wrong
// shows as a sanitizer's report, a PANIC, or as something left over when all is closed.
// Owns the sockets. Not here: the machine (rig.c). Context: one thread on the host.

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "lwip/stats.h"
#include "netglue.h"
#include "netmem.h"
#include "rig.h"
#include "sock.h"

enum { SOCKS = 24, FLOWS = 32, TCP_PORT = 80, UDP_PORT = 7 };

// A TCP connection as its peer sees it, or as it pretends to.
typedef struct {
    uint16_t port, to;
    uint32_t seq, ack;
} flow_t;

static sock_t *socks[SOCKS];
static sock_t *tcp_listener, *udp;
static flow_t flows[FLOWS];
static uint8_t frame[70000];
static uint32_t frame_len;
static unsigned opened;

static bool chance(unsigned percent) { return rnd_below(100) < percent; }

static void deliver(void) {
    unsigned nsegs = chance(10) && frame_len > 8 ? 1 + rnd_below(4) : 1;
    rig_receive(frame, frame_len, chance(30), nsegs);
}

// ---- peers --------------------------------------------------------------------------------------

static void flow_send(flow_t *f, uint8_t flags, uint32_t len) {
    static uint8_t payload[1460];
    tcp_t t = {f->port, f->to, f->seq, f->ack, (uint16_t)rnd_below(2000), flags};
    frame_len = make_tcp(frame, PEER_IP, &t, payload, len);
    f->seq += len + ((flags & (TH_SYN | TH_FIN)) != 0);
}

static flow_t *flow_of(uint16_t port, uint16_t to) {
    for (unsigned i = 0; i < FLOWS; i++) {
        if (flows[i].port == port && (flows[i].to == to || flows[i].to == 0)) {
            return &flows[i];
        }
    }
    return NULL;
}

// Answer what the stack sends, most of the time.
static void answer(const sent_t *s) {
    tcp_t t;
    uint32_t len;
    if (chance(10) || !read_tcp(s, &t, &len)) {
        return;
    }
    flow_t *f = flow_of(t.dst, t.src);
    if (f == NULL && (t.flags & (TH_SYN | TH_ACK)) == TH_SYN) { // the stack connects
        f = &flows[rnd_below(FLOWS)];
        *f = (flow_t){t.dst, t.src, rnd(), t.seq + 1};
        uint8_t save[2048];
        tcp_t reply = {f->port, f->to, f->seq++,
                       f->ack,  1000,  (uint8_t)(chance(80) ? TH_SYN | TH_ACK : TH_RST | TH_ACK)};
        rig_receive(save, make_tcp(save, PEER_IP, &reply, NULL, 0), false, 1);
        return;
    }
    if (f == NULL || (t.flags & TH_RST)) {
        return;
    }
    f->to = t.src;
    if (t.seq == f->ack || (t.flags & TH_SYN)) {
        f->ack = t.seq + len + ((t.flags & (TH_FIN | TH_SYN)) != 0);
    }
    if (len > 0 || (t.flags & (TH_FIN | TH_SYN))) {
        uint8_t save[2048];
        tcp_t reply = {f->port, f->to, f->seq, f->ack, (uint16_t)rnd_below(2000), TH_ACK};
        rig_receive(save, make_tcp(save, PEER_IP, &reply, NULL, 0), false, 1);
    }
}

static void gen_tcp(void) {
    flow_t *f = &flows[rnd_below(FLOWS)];
    if (f->port == 0 || chance(4)) {
        *f = (flow_t){(uint16_t)(1024 + rnd_below(16384)), TCP_PORT, rnd(), 0};
        flow_send(f, TH_SYN, 0);
        return;
    }
    if (chance(10)) {
        f->seq += rnd_below(3000) - 1500; // out of order, or repeated
    }
    static const uint8_t kinds[] = {TH_ACK, TH_ACK, TH_ACK | TH_PSH, TH_ACK | TH_FIN, TH_RST | TH_ACK, TH_SYN};
    flow_send(f, kinds[rnd_below(chance(80) ? 3 : sizeof kinds)], chance(60) ? rnd_below(1460) : 0);
}

// ---- other frames -------------------------------------------------------------------------------

static void gen_udp(void) {
    static const uint16_t ports[] = {UDP_PORT, 53, 67, 68, 5353, 1};
    uint8_t data[1400];
    uint32_t len = rnd_below(sizeof data);
    for (uint32_t i = 0; i < len; i++) {
        data[i] = (uint8_t)rnd();
    }
    uint16_t src = chance(30) ? 53 : (uint16_t)rnd();
    frame_len = make_udp(frame, src, chance(50) ? UDP_PORT : ports[rnd_below(HAL_ARRAY_LEN(ports))], data, len);
}

static void gen_icmp(void) {
    uint8_t data[600] = {(uint8_t)(chance(50) ? 8 : rnd_below(20)), (uint8_t)rnd_below(16)};
    uint32_t len = 8 + rnd_below(sizeof data - 8);
    put16(data + 2, 0);
    put16(data + 2, naive_sum(data, len, 0));
    frame_len = make_ip4(frame, 1, PEER_IP, data, len);
}

static void gen_igmp(void) {
    uint8_t data[8] = {
        0x11, (uint8_t)rnd(), 0, 0, (uint8_t)(chance(50) ? 224 : 0), 0, 0, (uint8_t)(chance(50) ? 1 : 0)};
    put16(data + 2, naive_sum(data, 8, 0));
    frame_len = make_ip4(frame, 2, PEER_IP, data, 8);
}

static void gen_arp(void) { frame_len = make_arp(frame, (uint16_t)(1 + rnd_below(3)), 0x0a000000 + rnd_below(256)); }

// Make a fragment of an IPv4 frame.
static void cut_ip4(void) {
    if (get16(frame + 12) != 0x0800 || frame_len < 60) {
        return;
    }
    uint8_t *ip = frame + 14;
    put16(ip + 4, rnd_below(4));
    put16(ip + 6, (chance(60) ? 0x2000 : 0) | rnd_below(chance(90) ? 200 : 0x2000));
    put16(ip + 10, 0);
    put16(ip + 10, naive_sum(ip, 20, 0));
}

static uint16_t sum6(uint8_t proto, const uint8_t *p, uint32_t len) {
    uint32_t start = proto + len;
    for (unsigned i = 8; i < 40; i += 2) {
        start += get16(frame + 14 + i);
    }
    return naive_sum(p, len, start);
}

static uint32_t put_option(uint8_t *p) {
    static const uint8_t kinds[] = {1, 2, 3, 5, 25, 31, 24};
    p[0] = kinds[rnd_below(sizeof kinds)];
    p[1] = (uint8_t)(chance(90) ? 1 + rnd_below(4) : rnd());
    unsigned len = (p[1] == 0 ? 1 : p[1] > 4 ? 4 : p[1]) * 8u;
    for (unsigned i = 2; i < len; i++) {
        p[i] = (uint8_t)(chance(50) ? rnd() : 0);
    }
    return len;
}

static void gen_ip6(void) {
    static const uint8_t next[] = {58, 58, 58, 6, 17, 0, 43, 44, 60, 59};
    static const uint8_t icmp[] = {128, 133, 134, 135, 136, 130, 131, 2, 1, 3};
    static const uint8_t from[16] = "\xfe\x80\0\0\0\0\0\0\0\0\0\xff\xfe\0\0\1";
    memcpy(frame, "\x02\0\0\0\0\2\x02\0\0\0\0\1\x86\xdd\x60\0\0\0", 18);
    uint8_t *ip = frame + 14;
    memcpy(ip + 8, from, 16);
    struct netif *n = &netglue_get(0)->netif;
    memcpy(ip + 24, chance(50) ? (const void *)netif_ip6_addr(n, 0)->addr : "\xff\2\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    ip[6] = next[rnd_below(sizeof next)];
    ip[7] = (uint8_t)(chance(70) ? 255 : rnd());
    uint8_t *p = ip + 40;
    uint32_t len = 8 + rnd_below(64);
    for (uint32_t i = 0; i < len; i++) {
        p[i] = (uint8_t)rnd();
    }
    if (ip[6] == 58) {
        p[0] = icmp[rnd_below(sizeof icmp)];
        p[1] = 0;
        len = p[0] == 134 ? 16 : 24;
        for (unsigned i = rnd_below(4); i > 0; i--) {
            len += put_option(p + len);
        }
    } else if (ip[6] == 44) { // a fragment
        p[0] = 58;
        p[1] = 0;
        put16(p + 2, rnd_below(64) << 3 | rnd_below(2));
        put32(p + 4, rnd_below(3));
    }
    put16(ip + 4, len);
    if (ip[6] == 58) {
        put16(p + 2, 0);
        put16(p + 2, sum6(58, p, len));
    }
    frame_len = 54 + len;
}

static void mutate(void) {
    if (chance(50)) {
        return;
    }
    for (unsigned n = 1 + rnd_below(4); n > 0; n--) {
        switch (rnd_below(5)) {
            case 0:
                frame[rnd_below(frame_len)] ^= (uint8_t)(1u << rnd_below(8));
                break;
            case 1:
                frame[rnd_below(frame_len)] = (uint8_t)rnd();
                break;
            case 2:
                frame_len = 1 + rnd_below(frame_len);
                break;
            case 3: {
                uint32_t more = rnd_below(200);
                memset(frame + frame_len, (int)rnd(), more);
                frame_len += more;
                break;
            }
            default: // header fields are where it is worth
                frame[rnd_below(frame_len < 60 ? frame_len : 60)] = (uint8_t)(chance(50) ? 0xff : 0);
        }
    }
    if (frame_len >= 34 && get16(frame + 12) == 0x0800 && chance(90)) { // or it would never get far
        put16(frame + 24, 0);
        put16(frame + 24, naive_sum(frame + 14, 20, 0));
    }
}

static void one_frame(void) {
    static void (*const gens[])(void) = {gen_tcp,  gen_tcp,  gen_tcp, gen_tcp, gen_udp,
                                         gen_icmp, gen_igmp, gen_arp, gen_ip6, gen_ip6};
    gens[rnd_below(HAL_ARRAY_LEN(gens))]();
    if (chance(8)) {
        cut_ip4();
    }
    mutate();
    deliver();
}

// ---- the application ----------------------------------------------------------------------------

static void use(sock_t **s) {
    static uint8_t buf[8000];
    sock_addr_t a = {IPADDR4_INIT(lwip_htonl(PEER_IP)), (uint16_t)(1024 + rnd_below(64))};
    switch (rnd_below(8)) {
        case 0:
        case 1:
        case 2:
            sock_recv(*s, buf, rnd_below(sizeof buf), &a);
            break;
        case 3:
        case 4:
            sock_send(*s, buf, rnd_below(sizeof buf), (*s)->type == SOCK_TYPE_DGRAM ? &a : NULL);
            break;
        case 5:
            sock_shutdown_write(*s);
            break;
        case 6:
            sock_poll(*s);
            break;
        default:
            sock_close(*s);
            *s = NULL;
    }
}

static void open_one(sock_t **s) {
    sock_addr_t a = {IPADDR4_INIT(lwip_htonl(PEER_IP)), (uint16_t)(1024 + rnd_below(64))};
    if (chance(70)) {
        sock_accept(tcp_listener, s, &a);
        opened += *s != NULL;
        return;
    }
    *s = sock_new(chance(80) ? SOCK_AF_INET : SOCK_AF_INET6, chance(70) ? SOCK_TYPE_STREAM : SOCK_TYPE_DGRAM);
    if (*s != NULL) {
        sock_connect(*s, &a);
    }
}

static void application(void) {
    sock_t **s = &socks[rnd_below(SOCKS)];
    if (*s != NULL) {
        use(s);
    } else {
        open_one(s);
    }
    static uint8_t buf[2000];
    sock_addr_t from;
    if (sock_recv(udp, buf, sizeof buf, &from) > 0 && chance(50)) {
        sock_send(udp, buf, 100, &from);
    }
    if (chance(1)) {
        sock_query_t *q = sock_query_start(chance(50) ? "a.example" : "b.example", 0);
        if (q != NULL) {
            sock_query_release(q);
        }
    }
}

static sock_t *bound(int type, uint16_t port) {
    sock_t *s = sock_new(SOCK_AF_INET6, type);
    sock_addr_t any = {*IP6_ADDR_ANY, port};
    assert(s != NULL && sock_bind(s, &any) == 0);
    return s;
}

static void close_all(void) {
    netmem_set_limits(64 << 20, 100000);
    for (unsigned i = 0; i < SOCKS; i++) {
        if (socks[i] != NULL) {
            sock_close(socks[i]);
        }
    }
    sock_close(tcp_listener);
    sock_close(udp);
    on_sent = NULL; // the peers are gone too
    rig_sleep_ms(120000);
    const struct stats_mem *pcbs = lwip_stats.memp[MEMP_TCP_PCB];
    fprintf(stderr, "left: rx %u tx %u pcbs %u segments %u bytes %zu; accepted %u\n", rx_lent, tx_pending,
            (unsigned)pcbs->used, (unsigned)lwip_stats.memp[MEMP_TCP_SEG]->used, netmem_used(), opened);
    assert(rx_lent == 0 && tx_pending == 0 && pcbs->used == 0);
    assert(lwip_stats.memp[MEMP_TCP_SEG]->used == 0 && netmem_used() < 65536);
    assert(opened > 10); // or it has tested nothing
}

int main(int argc, char **argv) {
    if (argc != 3) {
        return 2;
    }
    rnd_seed((uint32_t)strtoul(argv[1], NULL, 0));
    unsigned long frames = strtoul(argv[2], NULL, 0);
    said_expected = true; // of addresses that others claim
    rig_start(16 << 20, NETDEV_F_RX_CSUM | (chance(50) ? NETDEV_F_TX_CSUM | NETDEV_F_TX_TSO4 | NETDEV_F_TX_TSO6 : 0));
    tcp_listener = bound(SOCK_TYPE_STREAM, TCP_PORT);
    assert(sock_listen(tcp_listener, 16) == 0);
    udp = bound(SOCK_TYPE_DGRAM, UDP_PORT);
    on_sent = answer;
    for (unsigned long i = 0; i < frames; i++) {
        one_frame();
        if (i % 8 == 0) {
            rig_run();
            application();
        }
        if (i % 1000 == 0) {
            rig_sleep_ms(rnd_below(200));
            tx_stuck = chance(10);
            netmem_set_limits(chance(20) ? netmem_used() + rnd_below(20000) : 4 << 20, 20 + rnd_below(200));
        }
    }
    tx_stuck = false;
    close_all();
    puts("ok");
    return 0;
}
