// SPDX-License-Identifier: MIT
// What the stack's own parts promise, one check at a time, each in a fresh process: ./checks NAME. A check that
// fails aborts with the line that says what was expected.
// Owns nothing. Not here: the machine (rig.c), the far end (peer.c), connections' ends (connections.c), random traffic
// (fuzz.c). Context: one thread on the host.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"
#include "lwip/igmp.h"
#include "lwip/mld6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "netglue.h"
#include "nethooks.h"
#include "netmem.h"
#include "netrand.h"
#include "netsum.h"
#include "peer.h"

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

// Sockets that are not read hold at most half of the card's buffers, and the rest of the network goes on.
static void hoarding(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    static uint8_t data[1460];
    for (unsigned i = 0; i < 88; i++) { // less than the window; none is copied before half of the buffers are taken
        peer_send(TH_ACK, data, sizeof data);
        rig_run();
        CHECK(rx_lent == (i + 1 < RX_BUFFERS / 2 ? i + 1 : RX_BUFFERS / 2 - 1));
    }
    CHECK(sock_readable(s, 1 << 20) > 60000);
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
    CHECK(netglue_get(0)->tx.refused);
    tx_stuck = false;
    rig_sleep_ms(1); // not the retransmission timer's doing
    rig_sleep_ms(1);
    CHECK(sock_send(u, "x", 1, &to) == 1);
    rig_sleep_ms(60);
    CHECK(peer.got == sizeof data && !netglue_get(0)->tx.refused);
    sock_close(u);
    sock_close(s);
    sock_close(l);
    nothing_left();
}

// A frame longer than lwIP can count is dropped, and so is one in more pieces than there is memory for: whole, whatever
// pieces were at hand.
static void dropped_whole(void) {
    static uint8_t frame[FRAME_MAX];
    rig_start(RAM, 0);
    memcpy(frame, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
    size_t used[3];
    for (unsigned i = 0; i < 3; i++) {
        rig_receive(frame, sizeof frame, false, 3);
        rig_run();
        used[i] = netmem_used();
        CHECK(rx_lent == 0 && card.stats.rx_dropped == i + 1);
    }
    CHECK(used[0] == used[1] && used[1] == used[2]);
    netmem_set_limits(netmem_used(), 100);
    rig_receive(frame, 1400, false, 5);
    rig_run();
    CHECK(rx_lent == 0 && card.stats.rx_dropped == 4 && netmem_used() == used[2]);
    netmem_set_limits(8 << 20, 100);
    nothing_left();
}

// A frame shorter than a wire has it is as long as that for the stack: with zeros, not with what memory held.
static const uint8_t *short_frame;
static uint16_t short_len;

static err_t sees_input(struct pbuf *p, struct netif *n) {
    (void)n;
    CHECK(short_frame == NULL && p->next == NULL);
    short_frame = memcpy(malloc(p->len), p->payload, p->len);
    short_len = p->len;
    return ERR_BUF; // the caller frees it
}

static void padded(void) {
    uint8_t frame[64], zeros[64] = {0};
    rig_start(RAM, 0);
    rig_sleep_ms(2000);
    memset(frame, 0xaa, sizeof frame);
    netif_default->input = sees_input;
    for (unsigned len = 14; len <= sizeof frame; len++) {
        short_frame = NULL;
        rig_receive(frame, len, false, 2); // headers in pieces are copied
        rig_run();
        CHECK(short_frame != NULL && short_len == LWIP_MAX(len, 60) && memcmp(short_frame, frame, len) == 0);
        CHECK(memcmp(short_frame + len, zeros, short_len - len) == 0);
        free((void *)(uintptr_t)short_frame);
    }
    CHECK(rx_lent == 0);
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
        {"syn_cookies", syn_cookies},
        {"syn_options", syn_options},
        {"close_unread", close_unread},
        {"prompt_ack", prompt_ack},
        {"ports", ports},
        {"backlog", backlog},
        {"hoarding", hoarding},
        {"stuck_card", stuck_card},
        {"dropped_whole", dropped_whole},
        {"padded", padded},
        {"kept_frames", kept_frames},
        {"vlan", vlan},
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
        {"disbelieved", disbelieved},
        {"ip_ids", ip_ids},
        {"malformed", malformed},
        {"copied", copied},
        {"copied_inside", copied_inside},
        {"copied_card", copied_card},
        {"copied_fixed", copied_fixed},
        {"copied_lease", copied_lease},
        {"copied_names", copied_names},
        {"copied_keys", copied_keys},
        {"copied_datagrams", copied_datagrams},
        {"copied_routers", copied_routers},
        {"resumed", resumed},
        {"joined", joined},
        {"joined_refused", joined_refused},
        {"time_wait_most", time_wait_most},
        {"random_numbers", random_numbers},
        {"socket_names", socket_names},
        {"socket_options", socket_options},
        {"socket_readable", socket_readable},
        {"socket_stands_on", socket_stands_on},
        {"owned", owned},
        {"query_unanswered", query_unanswered},
        {"orphan_halfway", orphan_halfway},
        {"words", words},
        {"boot_words", boot_words},
        {"boot_words_wrong", boot_words_wrong},
        {"boot_words_odd", boot_words_odd},
        {"boot_words_none", boot_words_none},
        {"boot_words_dhcp", boot_words_dhcp},
        {"pending", pending},
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
