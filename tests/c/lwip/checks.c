// SPDX-License-Identifier: MIT
// What the stack's own parts promise, one check at a time, each in a fresh process: ./checks NAME. A check that
// fails aborts with the line that says what was expected.
// Owns one peer's state. Not here: the machine (rig.c), random traffic (fuzz.c). Context: one thread on the host.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "lwip/igmp.h"
#include "lwip/mld6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "nethooks.h"
#include "netmem.h"
#include "netrand.h"
#include "netsum.h"
#include "rig.h"
#include "sock.h"

#define CHECK(e) ((e) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #e), abort()))

enum { PORT = 80, PEER_PORT = 40000, RAM = 32 << 20 };

// The far end of one connection: acknowledges what comes, as long as it is told to.
static struct {
    uint16_t port;
    uint32_t seq, ack, window;
    uint32_t room; // takes this many bytes and closes its window; 0: any number
    bool open, silent, got_fin, got_rst;
    uint8_t data[1 << 20];
    uint32_t got;
    unsigned frames, joined;
} peer;

static void peer_send(uint8_t flags, const void *data, uint32_t len) {
    uint8_t frame[2200];
    tcp_t t = {peer.port, PORT, peer.seq, peer.ack, (uint16_t)peer.window, flags};
    rig_receive(frame, make_tcp(frame, PEER_IP, &t, data, len), false, 1);
    peer.seq += len + ((flags & (TH_SYN | TH_FIN)) != 0);
}

static uint32_t pseudo_of(const uint8_t *ip, uint32_t len) {
    return get16(ip + 12) + get16(ip + 14) + get16(ip + 16) + get16(ip + 18) + 6u + len;
}

static void check_sums(const sent_t *f) {
    const uint8_t *ip = f->data + 14;
    uint32_t len = get16(ip + 2) - 20u;
    CHECK(naive_sum(ip, 20, 0) == 0);
    if (!f->csum_needed) {
        CHECK(naive_sum(ip + 20, len, pseudo_of(ip, len)) == 0);
        return;
    }
    CHECK(f->csum_start == 34 && f->csum_offset == 16);
    uint32_t sum = pseudo_of(ip, len);
    sum = (sum & 0xffff) + (sum >> 16);
    CHECK(get16(f->data + 34 + 16) == (sum & 0xffff) + (sum >> 16));
}

static void peer_sees(const sent_t *f) {
    tcp_t t;
    uint32_t len;
    if (!read_tcp(f, &t, &len) || t.dst != peer.port) {
        return;
    }
    check_sums(f);
    CHECK(get16(f->data + 16) + 14u == f->len);
    peer.frames++;
    peer.joined += f->gso != NETDEV_GSO_NONE;
    CHECK(f->gso != NETDEV_GSO_NONE ? f->gso_size == 1460 && f->hdr_len == 54 && len > 1460 : len <= 1460);
    peer.got_rst |= (t.flags & TH_RST) != 0;
    if (peer.silent || peer.got_rst) {
        return;
    }
    if (t.flags & TH_SYN) {
        peer.ack = t.seq + 1;
        peer.open = true;
        peer_send(TH_ACK, NULL, 0);
    } else if (len > 0 && peer.window == 0) {
        peer_send(TH_ACK, NULL, 0); // a probe: nothing is taken
    } else if ((len > 0 || (t.flags & TH_FIN)) && t.seq == peer.ack) {
        CHECK(peer.got + len <= sizeof peer.data);
        memcpy(peer.data + peer.got, f->data + f->len - len, len);
        peer.got += len;
        peer.got_fin |= (t.flags & TH_FIN) != 0;
        if (peer.room != 0) {
            peer.window = peer.got < peer.room ? (peer.room - peer.got) >> 7 : 0;
        }
        peer.ack += len + ((t.flags & TH_FIN) != 0);
        peer_send(TH_ACK, NULL, 0);
    }
}

static sock_t *listen_on(uint16_t port, int backlog) {
    sock_t *l = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM);
    sock_addr_t any = {*IP4_ADDR_ANY, port};
    CHECK(l != NULL && sock_bind(l, &any) == 0 && sock_listen(l, backlog) == 0);
    return l;
}

static void peer_connect(uint16_t port) {
    memset(&peer, 0, sizeof peer);
    peer.port = port;
    peer.seq = 1000;
    peer.window = 512; // shifted by 7: 64 KiB
    on_sent = peer_sees;
    peer_send(TH_SYN, NULL, 0);
    rig_sleep_ms(20);
}

static sock_t *accepted(sock_t *l, uint16_t port) {
    sock_t *s;
    sock_addr_t from;
    peer_connect(port);
    CHECK(peer.open);
    CHECK(sock_accept(l, &s, &from) == 0 && from.port == port);
    return s;
}

static void nothing_left(void) {
    rig_sleep_ms(60000);
    CHECK(rx_lent == 0 && tx_pending == 0);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 0);
    CHECK(lwip_stats.memp[MEMP_TCP_SEG]->used == 0);
    CHECK(netmem_used() < 16384); // ARP table, groups, headers kept for received frames
}

// ---- the checks ---------------------------------------------------------------------------------

static void sum(void) {
    static uint8_t data[4096], copy[4096];
    for (unsigned i = 0; i < 20000; i++) {
        unsigned at = rnd_below(64), len = rnd_below(i % 50 == 0 ? 4000 : 200);
        for (unsigned k = 0; k < len; k++) {
            data[at + k] = i % 7 == 0 ? 0xff : (uint8_t)rnd();
        }
        uint16_t s = netsum_sum(data + at, (int)len);
        uint16_t swapped = (uint16_t)(s << 8 | s >> 8);
        uint16_t want = (uint16_t)~naive_sum(data + at, len, 0);
        CHECK(swapped == want);
        netsum_offloaded = false;
        CHECK(netsum_copy(copy, data + at, (uint16_t)len) == s && memcmp(copy, data + at, len) == 0);
        netsum_offloaded = true;
        CHECK(netsum_copy(copy, data + at, (uint16_t)len) == 0 && memcmp(copy, data + at, len) == 0);
    }
}

static void siphash(void) { // vectors of the reference implementation
    static const struct {
        unsigned len;
        uint64_t want;
    } vector[] = {{0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd}, {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}};
    uint64_t key[2];
    uint8_t in[16];
    for (unsigned i = 0; i < 16; i++) {
        ((uint8_t *)key)[i] = in[i] = (uint8_t)i;
    }
    for (unsigned i = 0; i < HAL_ARRAY_LEN(vector); i++) {
        CHECK(netrand_siphash(key, in, vector[i].len) == vector[i].want);
    }
}

static void transfer(uint32_t features) {
    rig_start(RAM, features);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    static uint8_t data[300001];
    for (unsigned i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)rnd();
    }
    size_t done = 0;
    while (done < sizeof data) {
        ssize_t n = sock_send(s, data + done, sizeof data - done, NULL);
        CHECK(n > 0 || n == -EAGAIN);
        CHECK(n > 0 || (sock_poll(s) & SOCK_POLL_OUT) == 0);
        done += n > 0 ? (size_t)n : 0;
        rig_sleep_ms(1);
    }
    sock_close(s);
    rig_sleep_ms(100);
    CHECK(peer.got == sizeof data && memcmp(peer.data, data, sizeof data) == 0 && peer.got_fin);
    CHECK((peer.joined > 0) == ((features & NETDEV_F_TX_TSO4) != 0));
    CHECK(peer.joined == 0 || peer.frames < 100);
    peer_send(TH_FIN | TH_ACK, NULL, 0);
    sock_close(l);
    nothing_left();
}

static void software(void) { transfer(0); }
static void offload(void) { transfer(NETDEV_F_TX_CSUM); }
static void tso(void) { transfer(NETDEV_F_TX_CSUM | NETDEV_F_TX_TSO4); }

static void order_of_ends(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    uint8_t buf[64];
    peer_send(TH_ACK | TH_PSH, "last words", 10);
    peer_send(TH_ACK | TH_FIN, NULL, 0);
    rig_sleep_ms(10);
    CHECK(sock_poll(s) == (SOCK_POLL_IN | SOCK_POLL_OUT));
    CHECK(sock_recv(s, buf, 4, NULL) == 4 && sock_recv(s, buf, 64, NULL) == 6 && sock_recv(s, buf, 64, NULL) == 0);
    CHECK(sock_send(s, "still", 5, NULL) == 5);
    rig_sleep_ms(10);
    CHECK(peer.got == 5);
    peer_send(TH_RST | TH_ACK, NULL, 0);
    rig_sleep_ms(10);
    CHECK(sock_recv(s, buf, 64, NULL) == -ECONNRESET && sock_recv(s, buf, 64, NULL) == 0);
    CHECK(sock_send(s, "x", 1, NULL) == -EPIPE);
    sock_close(s);
    s = accepted(l, PEER_PORT + 1);
    peer_send(TH_ACK | TH_PSH, "unread", 6);
    rig_sleep_ms(10);
    sock_close(s);
    rig_sleep_ms(10);
    CHECK(peer.got_rst);
    peer_connect(PEER_PORT + 2); // dies before it is accepted
    peer_send(TH_RST | TH_ACK, NULL, 0);
    rig_sleep_ms(10);
    sock_addr_t from;
    CHECK(sock_poll(l) == 0 && sock_accept(l, &s, &from) == -EAGAIN);
    peer_connect(PEER_PORT + 3); // and one whose listener closes
    sock_close(l);
    rig_sleep_ms(10);
    CHECK(peer.got_rst);
    nothing_left();
}

// A closed connection whose peer says nothing more holds its memory for a bounded time.
static void orphan(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    static uint8_t data[30000];
    CHECK(sock_send(s, data, sizeof data, NULL) == sizeof data);
    peer.silent = true;
    sock_close(s);
    rig_sleep_ms(1000);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 1);
    rig_sleep_ms(25000);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 0 && peer.got_rst);
    sock_close(l);
    nothing_left();
}

static void syn_from(uint32_t ip, uint16_t port) {
    uint8_t frame[128];
    tcp_t t = {port, PORT, rnd(), 0, 1000, TH_SYN};
    rig_receive(frame, make_tcp(frame, ip, &t, NULL, 0), false, 1);
}

static void syn_flood(void) {
    rig_start(8 << 20, 0);
    sock_t *l = listen_on(PORT, 5);
    size_t most = 0;
    for (unsigned i = 0; i < 20000; i++) {
        syn_from(0x0a000000 + 3 + rnd_below(250), (uint16_t)rnd());
        if (i % 16 == 0) {
            rig_run();
        }
        if (i % 1000 == 999) { // a real one gets through, and is not the victim of those behind it
            sock_t *s = accepted(l, (uint16_t)(PEER_PORT + i / 1000));
            for (unsigned k = 0; k < 1000; k++) {
                syn_from(0x0a000000 + 3 + rnd_below(250), (uint16_t)rnd());
            }
            rig_run();
            CHECK(sock_send(s, "hello", 5, NULL) == 5);
            rig_sleep_ms(1500); // the flood may have pushed the peer out of the ARP table
            CHECK(peer.got == 5);
            sock_close(s);
        }
        most = netmem_used() > most ? netmem_used() : most;
    }
    CHECK(most < 1 << 20);
    rig_sleep_ms(6000);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used < 64); // ours, closing
    sock_close(l);
    nothing_left();
}

static void backlog(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 3);
    for (unsigned i = 0; i < 3; i++) {
        peer_connect((uint16_t)(PEER_PORT + i));
        CHECK(peer.open);
    }
    peer_connect(PEER_PORT + 9);
    CHECK(!peer.open);
    sock_t *s;
    sock_addr_t from;
    CHECK(sock_accept(l, &s, &from) == 0 && from.port == PEER_PORT);
    sock_close(s);
    peer_connect(PEER_PORT + 9);
    CHECK(peer.open);
    sock_close(l);
    nothing_left();
}

// Sockets that are not read hold at most half of the card's buffers, and the rest of the network goes on.
static void hoarding(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    static uint8_t data[1460];
    for (unsigned i = 0; i < 88; i++) { // less than the window
        peer_send(TH_ACK, data, sizeof data);
        rig_run();
        CHECK(rx_lent <= RX_BUFFERS / 2);
    }
    CHECK(sock_tcp_readable(s, 1 << 20) > 60000);
    sock_t *u = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_addr_t a = {*IP4_ADDR_ANY, 7};
    CHECK(sock_bind(u, &a) == 0);
    uint8_t frame[2200];
    for (unsigned i = 0; i < 1000; i++) { // more than it may keep
        rig_receive(frame, make_udp(frame, 9, 7, data, 1000), false, 1 + i % 3);
        rig_run();
    }
    CHECK(u->dgram_bytes > 30000 && u->dgram_bytes <= TCP_WND && rx_lent <= RX_BUFFERS / 2);
    uint8_t buf[2000];
    CHECK(sock_recv(u, buf, sizeof buf, &a) == 1000 && a.port == 9);
    sock_close(u);
    sock_close(s);
    sock_close(l);
    nothing_left();
}

// The card stops for a while: nothing is lost that was promised, and it goes on by itself.
static void stuck_card(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    tx_stuck = true;
    sock_t *u = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_addr_t to = {IPADDR4_INIT(lwip_htonl(PEER_IP)), 9};
    unsigned sent = 0;
    while (sock_send(u, "x", 1, &to) == 1 && sent < 5000) {
        sent++;
        rig_run();
    }
    CHECK(sent > 500 && sent < 1000 && tx_pending == TX_RING);
    CHECK(sock_send(u, "x", 1, &to) == -EAGAIN);
    static uint8_t data[20000];
    CHECK(sock_send(s, data, sizeof data, NULL) == sizeof data);
    rig_sleep_ms(10);
    tx_stuck = false;
    rig_sleep_ms(1); // not the retransmission timer's doing
    rig_sleep_ms(1);
    CHECK(sock_send(u, "x", 1, &to) == 1);
    rig_sleep_ms(60);
    CHECK(peer.got == sizeof data);
    sock_close(u);
    sock_close(s);
    sock_close(l);
    nothing_left();
}

static void closed_window(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    peer.room = 65536;
    static uint8_t data[100000];
    CHECK(sock_send(s, data, sizeof data, NULL) == sizeof data);
    rig_sleep_ms(1000);
    CHECK(peer.got > 60000 && peer.got <= 65536);
    uint32_t got = peer.got, frames = peer.frames;
    rig_sleep_ms(30000);
    CHECK(peer.got == got && peer.frames >= frames + 4); // it was asked now and then
    peer.room = 0;
    peer.window = 512;
    peer_send(TH_ACK, NULL, 0);
    rig_sleep_ms(100);
    CHECK(peer.got == sizeof data);
    peer_send(TH_RST | TH_ACK, NULL, 0);
    rig_sleep_ms(10);
    sock_close(s);
    sock_close(l);
    nothing_left();
}

static void out_of_memory(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    static uint8_t data[50000];
    netmem_set_limits(netmem_used(), 100);
    CHECK(sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM) == NULL);
    CHECK(sock_send(s, data, sizeof data, NULL) == -EAGAIN && (sock_poll(s) & SOCK_POLL_OUT) == 0);
    peer_send(TH_ACK, data, 100); // what comes is dropped or kept; nothing breaks
    rig_sleep_ms(500);
    netmem_set_limits(8 << 20, 100);
    sock_close(sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM)); // something is freed
    CHECK((sock_poll(s) & SOCK_POLL_OUT) != 0 && sock_send(s, data, sizeof data, NULL) == sizeof data);
    rig_sleep_ms(100);
    CHECK(peer.got == sizeof data);
    sock_close(s);
    sock_close(l);
    nothing_left();
}

// A UDP socket does not call itself writable while what it was asked to send finds no memory.
static void udp_refused(void) {
    rig_start(RAM, 0);
    sock_t *s = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_t *other = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_addr_t to = {.port = 9};
    ip_addr_set_ip4_u32(&to.ip, lwip_htonl(0x0a000001));
    static uint8_t data[1000];
    CHECK(sock_poll(s) == SOCK_POLL_OUT);
    netmem_set_limits(netmem_used(), 100);
    CHECK(sock_send(s, data, sizeof data, &to) == -EAGAIN);
    CHECK(sock_poll(s) == 0);
    CHECK(sock_poll(other) == SOCK_POLL_OUT); // it was refused nothing
    netmem_set_limits(8 << 20, 100);
    CHECK(sock_poll(s) == 0); // nobody has freed anything
    sock_close(other);
    CHECK(sock_poll(s) == SOCK_POLL_OUT);
    CHECK(sock_send(s, data, sizeof data, &to) == sizeof data);
    CHECK(sock_poll(s) == SOCK_POLL_OUT);
    sock_close(s);
    nothing_left();
}

// close() leaves what was joined, and not what another socket has joined.
static void groups(void) {
    rig_start(RAM, 0);
    struct netif *n = netif_default;
    sock_t *s = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM), *t = sock_new(SOCK_AF_INET6, SOCK_TYPE_DGRAM);
    ip_addr_t g4, g6, one;
    CHECK(ipaddr_aton("239.1.2.3", &g4) && ipaddr_aton("ff05::1234", &g6) && ipaddr_aton("10.0.0.1", &one));
    CHECK(sock_membership(s, &one, IP4_ADDR_ANY, true) == -EINVAL);
    CHECK(sock_membership(s, &g4, IP4_ADDR_ANY, false) == -EADDRNOTAVAIL);
    CHECK(sock_membership(s, &g4, &one, true) == -ENODEV);
    CHECK(sock_membership(s, &g4, IP4_ADDR_ANY, true) == 0);
    CHECK(sock_membership(s, &g4, IP4_ADDR_ANY, true) == -EADDRINUSE);
    CHECK(sock_membership(t, &g4, IP4_ADDR_ANY, true) == 0);
    CHECK(sock_membership(t, &g6, IP6_ADDR_ANY, true) == 0);
    CHECK(igmp_lookfor_group(n, ip_2_ip4(&g4)) != NULL && mld6_lookfor_group(n, ip_2_ip6(&g6)) != NULL);
    sock_close(s);
    CHECK(igmp_lookfor_group(n, ip_2_ip4(&g4)) != NULL);
    CHECK(sock_membership(t, &g6, IP6_ADDR_ANY, false) == 0);
    CHECK(mld6_lookfor_group(n, ip_2_ip6(&g6)) == NULL);
    sock_close(t);
    CHECK(igmp_lookfor_group(n, ip_2_ip4(&g4)) == NULL);
    size_t left = netmem_used();
    s = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    CHECK(sock_membership(s, &g4, IP4_ADDR_ANY, true) == 0);
    sock_close(s);
    rig_sleep_ms(1000);
    CHECK(netmem_used() <= left);
}

static void time_wait(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    sock_close(s);
    rig_sleep_ms(10);
    CHECK(peer.got_fin);
    peer_send(TH_FIN | TH_ACK, NULL, 0);
    rig_sleep_ms(10);
    CHECK(tcp_tw_pcbs != NULL);
    uint32_t seq = peer.seq + 1000;
    peer.open = false;
    for (unsigned i = 0; i < 2; i++) { // the first SYN ends the old connection, its repetition is let in
        peer.seq = seq;
        peer_send(TH_SYN, NULL, 0);
        rig_sleep_ms(10);
    }
    CHECK(peer.open);
    sock_close(l);
    nothing_left();
}

// No two of 65,536 alike, and none follows from the one before.
static unsigned ip_id_steps, ip_ids_seen;
static void sees_ids(const sent_t *f) {
    static uint16_t last;
    if (get16(f->data + 12) == 0x0800) {
        ip_id_steps += (uint16_t)(get16(f->data + 18) - last) == 1;
        last = get16(f->data + 18);
        ip_ids_seen++;
    }
}

static void ip_ids(void) {
    static bool had[65536];
    rig_start(RAM, 0);
    on_sent = sees_ids;
    sock_t *s = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_addr_t to = {.port = 9};
    CHECK(ipaddr_aton("10.0.0.1", &to.ip));
    for (unsigned i = 0; i < 100; i++) {
        CHECK(sock_send(s, "x", 1, &to) == 1);
        rig_sleep_ms(1);
    }
    CHECK(ip_ids_seen == 100 && ip_id_steps < 5);
    for (unsigned i = 0; i < 65536; i++) {
        uint16_t id = netrand_ip_id((uint16_t)i);
        CHECK(!had[id]);
        had[id] = true;
    }
    sock_close(s);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*fn)(void);
    } checks[] = {
        {"sum", sum},
        {"siphash", siphash},
        {"software", software},
        {"offload", offload},
        {"tso", tso},
        {"order_of_ends", order_of_ends},
        {"orphan", orphan},
        {"syn_flood", syn_flood},
        {"backlog", backlog},
        {"hoarding", hoarding},
        {"stuck_card", stuck_card},
        {"closed_window", closed_window},
        {"out_of_memory", out_of_memory},
        {"time_wait", time_wait},
        {"udp_refused", udp_refused},
        {"groups", groups},
        {"path_mtu", path_mtu},
        {"path_mtu_lie", path_mtu_lie},
        {"claimed", claimed},
        {"redirected", redirected},
        {"duplicate", duplicate},
        {"duplicates", duplicates},
        {"ip_ids", ip_ids},
        {"malformed", malformed},
    };
    for (unsigned i = 0; i < HAL_ARRAY_LEN(checks); i++) {
        if (argc == 1) {
            puts(checks[i].name);
        } else if (strcmp(argv[1], checks[i].name) == 0) {
            rnd_seed(i + 1);
            checks[i].fn();
            puts("ok");
            return 0;
        }
    }
    return argc == 1 ? 0 : 2;
}
