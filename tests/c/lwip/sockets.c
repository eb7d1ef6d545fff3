// SPDX-License-Identifier: MIT
// Checks: what a socket says of itself and lets be set, and what is left of it.
// Not here: the machine (rig.c), the far end (peer.c). Context: one thread on the host.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "lwip/udp.h"
#include "netmem.h"
#include "peer.h"

void socket_names(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    sock_addr_t a;
    sock_peer(s, &a);
    CHECK(a.port == PEER_PORT && lwip_ntohl(ip_2_ip4(&a.ip)->addr) == PEER_IP);
    sock_close(s);
    s = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM); // without bind(): a port is drawn
    CHECK(sock_listen(s, 5) == 0 && s->pcb.tcp->local_port != 0 && s->pcb.tcp->local_port != PORT);
    sock_close(s);
    sock_close(l);
    s = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM);
    CHECK(IP_GET_TYPE(&s->pcb.tcp->local_ip) == IPADDR_TYPE_V4);
    sock_close(s);
    s = sock_new(SOCK_AF_INET6, SOCK_TYPE_STREAM); // for both kinds
    CHECK(IP_GET_TYPE(&s->pcb.tcp->local_ip) == IPADDR_TYPE_ANY);
    sock_close(s);
    nothing_left();
}

void socket_options(void) {
    rig_start(RAM, 0);
    sock_t *s = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_addr_t all = {IPADDR4_INIT(lwip_htonl(0x0a0000ff)), 9};
    CHECK(sock_send(s, "x", 1, &all) < 0);
    CHECK(sock_set_broadcast(s, true) == 0 && sock_send(s, "x", 1, &all) == 1);
    CHECK(sock_set_broadcast(s, false) == 0 && sock_send(s, "x", 1, &all) < 0);
    CHECK(sock_set_card(s, 0) == 0 && s->pcb.udp->netif_idx == netif_get_index(netif_default));
    CHECK(sock_set_card(s, 1) == -ENODEV && s->pcb.udp->netif_idx != NETIF_NO_INDEX);
    CHECK(sock_set_card(s, -1) == 0 && s->pcb.udp->netif_idx == NETIF_NO_INDEX);
    sock_close(s);
    nothing_left();
}

// Of what came in pieces, some is read: the rest is counted whole.
void socket_readable(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    uint8_t buf[32];
    peer_send(TH_ACK | TH_PSH, "0123456789", 10);
    peer_send(TH_ACK | TH_PSH, "abcdefghij", 10);
    rig_sleep_ms(1);
    CHECK(sock_readable(s, 100) == 20 && sock_readable(s, 5) == 5);
    CHECK(sock_recv(s, buf, 4, NULL) == 4);
    CHECK(sock_readable(s, 8) == 8 && sock_readable(s, 16) == 16 && sock_readable(s, 100) == 16);
    CHECK(sock_recv(s, buf, sizeof buf, NULL) == 16 && memcmp(buf, "456789abcdefghij", 16) == 0);
    CHECK(sock_readable(s, 8) == -EAGAIN);
    sock_close(s);
    sock_close(l);
    nothing_left();
}

static unsigned stood_closed;
static void stood_close(sock_backing_t *b) {
    (void)b;
    stood_closed++;
}

// A connection, or what was to be one, is over where the socket stands on something else.
void socket_stands_on(void) {
    static const sock_backing_ops_t ops = {.close = stood_close};
    static sock_backing_t b = {.ops = &ops};
    rig_start(RAM, 0);
    sock_t *s = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 1);
    sock_stand_on(s, &b);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 0 && stood_closed == 0);
    sock_close(s);
    CHECK(stood_closed == 1);
    sock_t *l = listen_on(PORT, 5);
    s = accepted(l, PEER_PORT);
    peer_send(TH_ACK | TH_PSH, "unread", 6);
    rig_sleep_ms(10);
    sock_stand_on(s, &b);
    rig_sleep_ms(10);
    CHECK(peer.got_rst && stood_closed == 1);
    sock_close(s);
    sock_close(l);
    CHECK(stood_closed == 2);
    nothing_left();
}

// Where there is room for no more connections, those that a socket has are no one's to end.
void owned(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    uint8_t buf[8];
    netmem_set_limits(8 << 20, lwip_stats.memp[MEMP_TCP_PCB]->used);
    CHECK(sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM) == NULL);
    rig_sleep_ms(10);
    CHECK(!peer.got_rst && sock_send(s, "still", 5, NULL) == 5);
    peer_send(TH_ACK | TH_PSH, "here", 4);
    rig_sleep_ms(10);
    CHECK(peer.got == 5 && sock_recv(s, buf, sizeof buf, NULL) == 4);
    sock_close(s);
    sock_t *next = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM); // that one is nobody's any more
    CHECK(next != NULL);
    sock_close(next);
    sock_close(l);
    nothing_left();
}

// A query that nobody answers leaves nothing behind, whoever lets go of it first.
void query_unanswered(void) {
    rig_start(RAM, 0);
    size_t before = netmem_used();
    for (unsigned i = 0; i < 2; i++) {
        sock_query_t *q = sock_query_start("floe.example", SOCK_AF_INET);
        CHECK(q != NULL && !sock_query_done(q) && netmem_used() > before);
        if (i == 0) {
            rig_sleep_ms(60000);
            CHECK(sock_query_done(q) && q->v4 == -ENOENT && q->v6 == -EAFNOSUPPORT);
        }
        sock_query_release(q);
        rig_sleep_ms(60000);
        CHECK(netmem_used() <= before);
    }
}

// One whose peer has taken a part and then says nothing is over as soon as one that never did.
void orphan_halfway(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    static uint8_t data[30000];
    peer.room = 8000;
    CHECK(sock_send(s, data, sizeof data, NULL) == sizeof data);
    sock_close(s);
    rig_sleep_ms(1000);
    CHECK(peer.got > 1000 && peer.got <= 8000);
    peer.silent = true;
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 1);
    rig_sleep_ms(60000);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 0 && peer.got_rst);
    sock_close(l);
    nothing_left();
}
