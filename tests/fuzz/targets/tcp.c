// SPDX-License-Identifier: MIT
// A peer with an open connection whose segments lie about order, windows, flags and options. lwIP's tcp_in.c, tcp.c
// and modules/lwip/sock_tcp.c, netsyn.c

#include <string.h>

#include "net.h"

enum { PORTS = 3, OPTIONS = 40, DATA = 1460 };

typedef struct {
    uint32_t seq, ack; // what a right segment says
    uint32_t end;      // what the stack has sent
} flow_t;

static flow_t flow[PORTS];

static void on_frame(const sent_t *f) {
    tcp_t t;
    uint32_t len;
    if (read_tcp(f, &t, &len) && t.dst >= 1024 && t.dst < 1024 + PORTS) {
        flow_t *mine = &flow[t.dst - 1024];
        mine->end = t.seq + len + ((t.flags & (TH_SYN | TH_FIN)) != 0);
    }
}

// All of the segment is put together here: options that lie about their length are the point.
static void segment(unsigned which, uint8_t flags, const uint8_t *options, size_t options_len) {
    flow_t *mine = &flow[which];
    static uint8_t seg[20 + OPTIONS + DATA];
    uint8_t how = in_u8();
    size_t data_len = 0;
    uint8_t *data = how & 1 ? in_bytes(DATA, &data_len) : NULL;
    size_t head = 20 + options_len;
    memset(seg, 0, sizeof seg);
    put16(seg, 1024 + which);
    put16(seg + 2, NET_TCP_PORT);
    put32(seg + 4, mine->seq + (how & 2 ? (uint32_t)(int16_t)in_u16() : 0));
    put32(seg + 8, how & 4 ? mine->end + (uint32_t)(int16_t)in_u16() : mine->ack);
    seg[12] = (uint8_t)(how & 8 ? in_u8() : head / 4 << 4);
    seg[13] = flags;
    put16(seg + 14, how & 16 ? in_u16() : 8192);
    put16(seg + 18, how & 32 ? in_u16() : 0);
    memcpy(seg + 20, options, options_len);
    if (data_len > 0) {
        memcpy(seg + head, data, data_len);
    }
    if ((how & 64) == 0) { // else it comes again, or out of order
        mine->seq += (uint32_t)data_len + ((flags & (TH_SYN | TH_FIN)) != 0);
    }
    net_ip4(6, seg, head + data_len);
    net_turn();
    mine->ack = (how & 128) == 0 ? mine->end : mine->ack;
}

void fuzz_one(void) {
    net_start();
    on_sent = on_frame;
    unsigned connected = in_below(4);
    for (unsigned i = 0; i < connected && i < PORTS; i++) {
        segment(i, TH_SYN, (const uint8_t *)"\2\4\x05\xb4\1\3\3\7\4\2\1\1", 12);
        segment(i, TH_ACK, (const uint8_t *)"", 0);
    }
    while (in_left() > 0) {
        size_t len;
        unsigned which = in_below(PORTS);
        uint8_t flags = in_u8();
        uint8_t *options = in_bytes(OPTIONS, &len);
        segment(which, flags, options, len / 4 * 4);
    }
}
