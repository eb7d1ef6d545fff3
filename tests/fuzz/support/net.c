// SPDX-License-Identifier: MIT
// net.h. Owns the sockets. Not here: the card and the clock (tests/c/lwip/rig.c). Context: libFuzzer.

#include "net.h"

#include <string.h>

#include "netglue.h"
#include "sock.h"

enum { ETH = 14, SOCKS = 4 };

static sock_t *listener, *udp, *open_sock[SOCKS];

static sock_t *bound(int type, uint16_t port) {
    sock_t *s = sock_new(SOCK_AF_INET6, type);
    sock_addr_t any = {*IP6_ADDR_ANY, port};
    FUZZ_CHECK(s != NULL && sock_bind(s, &any) == 0);
    return s;
}

void net_start(void) {
    said_expected = true; // of addresses that others claim
    rig_start(16 << 20, NETDEV_F_RX_CSUM);
    listener = bound(SOCK_TYPE_STREAM, NET_TCP_PORT);
    FUZZ_CHECK(sock_listen(listener, 4) == 0);
    udp = bound(SOCK_TYPE_DGRAM, NET_UDP_PORT);
}

static void serve(void) {
    static uint8_t buf[4096];
    sock_addr_t from;
    ssize_t n;
    while ((n = sock_recv(udp, buf, sizeof buf, &from)) >= 0) {
        sock_send(udp, buf, (size_t)n, &from);
    }
    for (unsigned i = 0; i < SOCKS; i++) {
        sock_t **s = &open_sock[i];
        if (*s == NULL && sock_accept(listener, s, &from) != 0) {
            *s = NULL;
            continue;
        }
        while ((n = sock_recv(*s, buf, sizeof buf, NULL)) > 0) {
            sock_send(*s, buf, (size_t)n, NULL);
        }
        if (n != -EAGAIN) {
            sock_close(*s);
            *s = NULL;
        }
    }
}

void net_turn(void) {
    static const uint16_t ms[] = {0, 0, 0, 1, 10, 60, 600, 5000};
    rig_run();
    serve();
    unsigned pause = ms[in_below(sizeof ms / sizeof ms[0])];
    if (pause > 0) {
        rig_sleep_ms(pause);
        serve();
    }
    rig_run();
}

void net_frame(const uint8_t *frame, size_t len) {
    uint8_t how = in_u8();
    rig_receive(frame, (uint32_t)len, (how & 1) != 0, how >= 0xf0 && len > 8 ? 1 + how % 4u : 1);
}

static uint32_t sum_of(const uint8_t *p, unsigned len) {
    uint32_t sum = 0;
    for (unsigned i = 0; i < len; i += 2) {
        sum += get16(p + i);
    }
    return sum;
}

static void right_payload(uint8_t protocol, uint32_t pseudo, uint8_t *p, size_t len) {
    unsigned at = protocol == 1 || protocol == 2 || protocol == 58 ? 2 : protocol == 17 ? 6 : protocol == 6 ? 16 : 0;
    if (at != 0 && len >= at + 2u) {
        put16(p + at, 0);
        put16(p + at, naive_sum(p, len, protocol == 1 || protocol == 2 ? 0 : pseudo + protocol + (uint32_t)len));
    }
}

void net_right_sums(uint8_t *frame, size_t len) {
    uint8_t *ip = frame + ETH;
    if (len >= ETH + 20 && get16(frame + 12) == 0x0800) {
        unsigned head = (ip[0] & 15) * 4u;
        if (head < 20 || ETH + head > len) {
            return;
        }
        put16(ip + 10, 0);
        put16(ip + 10, naive_sum(ip, head, 0));
        if ((get16(ip + 6) & 0x3fff) == 0) {
            size_t said = get16(ip + 2) < head ? 0 : get16(ip + 2) - head, there = len - ETH - head;
            right_payload(ip[9], sum_of(ip + 12, 8), ip + head, said < there ? said : there);
        }
    } else if (len >= ETH + 40 && get16(frame + 12) == 0x86dd) {
        size_t said = get16(ip + 4), there = len - ETH - 40;
        right_payload(ip[6], sum_of(ip + 8, 32), ip + 40, said < there ? said : there);
    }
}

void net_ip4(uint8_t protocol, uint8_t *payload, size_t len) {
    static FUZZ_SCRATCH uint8_t frame[FRAME_MAX];
    size_t n = make_ip4(frame, protocol, PEER_IP, payload, (uint32_t)len);
    net_right_sums(frame, n);
    net_frame(frame, n);
}

void net_ip6(unsigned from, uint8_t next, uint8_t *payload, size_t len) {
    static FUZZ_SCRATCH uint8_t frame[FRAME_MAX];
    static const uint8_t froms[NET_FROMS - 1][16] = {
        {0xfe, 0x80, [11] = 0xff, [12] = 0xfe, [15] = 1},
        {0xfe, 0x80, [15] = 2},
        {0x20, 0x01, 0x0d, 0xb8, [15] = 9},
        {0},
    };
    struct netif *n = &netglue_get(0)->netif;
    const void *us = netif_ip6_addr(n, 0)->addr;
    memcpy(frame, "\x02\0\0\0\0\2\x02\0\0\0\0\1\x86\xdd\x60\0\0\0", 18);
    uint8_t *ip = frame + ETH;
    put16(ip + 4, (uint32_t)len);
    ip[6] = next;
    ip[7] = 255;
    memcpy(ip + 8, from == NET_FROM_US ? us : froms[from % (NET_FROMS - 1)], 16);
    if (in_u8() & 1) {
        memcpy(ip + 24, "\xff\2\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    } else {
        memcpy(ip + 24, us, 16);
    }
    memcpy(ip + 40, payload, len);
    net_right_sums(frame, ETH + 40 + len);
    net_frame(frame, ETH + 40 + len);
}
