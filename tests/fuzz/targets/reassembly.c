// SPDX-License-Identifier: MIT
// Fragments of UDP datagrams and echo requests, IPv4 and IPv6: overlapping, out of order, too long, never complete.
// lwIP's ip4_frag.c, ip6_frag.c

#include <string.h>

#include "net.h"

enum { PIECE = 1400 };

static void four(uint8_t id, uint16_t at, const uint8_t *data, size_t len) {
    static uint8_t frame[FRAME_MAX];
    size_t n = make_ip4(frame, id & 1 ? 17 : 1, PEER_IP, data, (uint32_t)len);
    put16(frame + 18, id);
    put16(frame + 20, at);
    net_right_sums(frame, n);
    net_frame(frame, n);
}

static void six(uint8_t id, uint16_t at, const uint8_t *data, size_t len) {
    static uint8_t packet[8 + PIECE];
    packet[0] = id & 1 ? 17 : 58;
    packet[1] = 0;
    put16(packet + 2, (uint32_t)at << 3 | (at & 0x2000 ? 1 : 0));
    put32(packet + 4, id);
    memcpy(packet + 8, data, len);
    net_ip6(id >> 6, 44, packet, 8 + len);
}

// A whole datagram, cut in pieces that arrive in the order that the input says.
static void honest(bool is_six) {
    size_t len;
    uint8_t id = in_u8(), *data = in_bytes(PIECE, &len);
    if (len >= 8 && (id & 1)) {
        memcpy(data, "\4\0\0\7\0\0\0\0", 8);
        put16(data + 4, (uint32_t)len);
    }
    unsigned pieces = (unsigned)len / 8 < 4 ? 1 : 4, step = (unsigned)len / pieces / 8 * 8, first = in_u8();
    for (unsigned i = 0; i < pieces; i++) {
        unsigned k = (first + i * (first & 0x80 ? 3 : 1)) % pieces;
        size_t n = k + 1 == pieces ? len - k * step : step;
        uint16_t at = (uint16_t)(k * step / 8 | (k + 1 < pieces ? 0x2000 : 0));
        is_six ? six(id, at, data + k * step, n) : four(id, at, data + k * step, n);
    }
}

void fuzz_one(void) {
    net_start();
    while (in_left() > 0) {
        uint8_t how = in_u8();
        if (how & 2) {
            honest(how & 1);
        } else {
            size_t len;
            uint8_t id = in_u8();
            uint16_t at = in_u16();
            at = how & 4 ? at : at & 0x203f;
            uint8_t *data = in_bytes(PIECE, &len);
            how & 1 ? six(id, at, data, len) : four(id, at, data, len);
        }
        if (how & 8) {
            net_turn();
        }
    }
    net_turn();
}
