// SPDX-License-Identifier: MIT
// The far end of one connection. Owns its state. Not here: the machine (rig.c), what is tested.
// Context: one thread on the host.

#include "peer.h"

#include <string.h>

#include "lwip/stats.h"
#include "netmem.h"

peer_t peer;

void peer_send(uint8_t flags, const void *data, uint32_t len) {
    uint8_t frame[2200];
    tcp_t t = {peer.port, PORT, peer.seq, peer.ack, (uint16_t)peer.window, flags};
    rig_receive(frame, make_tcp(frame, PEER_IP, &t, data, len), false, 1);
    peer.seq += len + ((flags & (TH_SYN | TH_FIN)) != 0);
}

static uint32_t pseudo_of(const uint8_t *ip, uint32_t len) {
    return get16(ip + 12) + get16(ip + 14) + get16(ip + 16) + get16(ip + 18) + 6u + len;
}

void check_sums(const sent_t *f) {
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

void peer_sees(const sent_t *f) {
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

sock_t *listen_on(uint16_t port, int backlog) {
    sock_t *l = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM);
    sock_addr_t any = {*IP4_ADDR_ANY, port};
    CHECK(l != NULL && sock_bind(l, &any) == 0 && sock_listen(l, backlog) == 0);
    return l;
}

void peer_connect(uint16_t port) {
    memset(&peer, 0, sizeof peer);
    peer.port = port;
    peer.seq = 1000;
    peer.window = 512; // shifted by 7: 64 KiB
    on_sent = peer_sees;
    peer_send(TH_SYN, NULL, 0);
    rig_sleep_ms(20);
}

sock_t *accepted(sock_t *l, uint16_t port) {
    sock_t *s;
    sock_addr_t from;
    peer_connect(port);
    CHECK(peer.open);
    CHECK(sock_accept(l, &s, &from) == 0 && from.port == port);
    return s;
}

void nothing_left(void) {
    rig_sleep_ms(60000);
    CHECK(rx_lent == 0 && tx_pending == 0);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 0);
    CHECK(lwip_stats.memp[MEMP_TCP_SEG]->used == 0);
    CHECK(netmem_used() < 16384); // ARP table, groups, headers kept for received frames
}
