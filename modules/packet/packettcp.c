// SPDX-License-Identifier: MIT
// Segments judged by what both ends have sent before: see packettcp.h; RSTs as by RFC 5961, 3, seen from the middle.
// Owns nothing. Context: main loop; host tests.

#include "packettcp.h"

#include <string.h>

#include "packetbytes.h"

enum { TCP_MIN = 20, OPTION_END = 0, OPTION_NOP = 1, OPTION_SCALE = 3, SCALE_MAX = 14 };
enum { OPENERS = PACKET_TCP_SYN | PACKET_TCP_FIN | PACKET_TCP_RST, ACK_WINDOW_MIN = 66000 };
// Flags of packet_tcp_end_t: it was seen; it has acknowledged something; its SYN, its FIN were acknowledged.
enum { KNOWN = 1, ACKED = 2, SYN_ACKED = 4, FIN = 8, FIN_ACKED = 16 };

static inline bool after(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }
static inline uint32_t later(uint32_t a, uint32_t b) { return after(a, b) ? a : b; }
static inline uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

// The window scale option (RFC 7323, 2) of a SYN.
static uint8_t read_scale(const uint8_t *option, const uint8_t *end) {
    while (option < end && *option != OPTION_END) {
        unsigned size = *option == OPTION_NOP ? 1 : end - option < 2 ? 0 : option[1];
        if (size == 0 || size > (size_t)(end - option) || (size < 2 && *option != OPTION_NOP)) {
            break;
        }
        if (*option == OPTION_SCALE && size == 3) {
            return option[2] < SCALE_MAX ? option[2] : SCALE_MAX;
        }
        option += size;
    }
    return PACKET_TCP_NO_SCALE;
}

// One of SYN, FIN and RST at most; all but a SYN and a RST acknowledge.
static bool flags_make_sense(unsigned flags) {
    switch (flags & OPENERS) {
        case PACKET_TCP_SYN:
        case PACKET_TCP_RST:
            return true;
        case PACKET_TCP_FIN:
        case 0:
            return (flags & PACKET_TCP_ACK) != 0;
        default:
            return false;
    }
}

bool packet_tcp_read(const packet_t *p, packet_segment_t *s) {
    const uint8_t *tcp = p->l4;
    if (tcp == NULL || p->l4_room < TCP_MIN) {
        return false;
    }
    unsigned header = (tcp[12] >> 4) * 4u, before = (unsigned)(tcp - p->ip) + header;
    s->flags = tcp[13];
    if (header < TCP_MIN || header > p->l4_room || before > p->key.length || !flags_make_sense(s->flags)) {
        return false;
    }
    s->seq = packet_get32(tcp + 4);
    s->ack = packet_get32(tcp + 8);
    s->window = packet_get16(tcp + 14);
    s->size = p->key.length - before + ((s->flags & (PACKET_TCP_SYN | PACKET_TCP_FIN)) != 0);
    s->scale = (s->flags & PACKET_TCP_SYN) != 0 ? read_scale(tcp + TCP_MIN, tcp + header) : PACKET_TCP_NO_SCALE;
    s->part = p->key.fragment == PACKET_FIRST_FRAGMENT;
    return true;
}

// The window that a segment offers. Those of SYNs are not scaled.
static uint32_t offered(const packet_tcp_t *c, unsigned from, const packet_segment_t *s) {
    unsigned scale = c->end[from].scale;
    if ((s->flags & PACKET_TCP_SYN) != 0) {
        scale = 0;
    } else if (c->loose) {
        scale = SCALE_MAX; // it may be that much
    } else if (scale == PACKET_TCP_NO_SCALE || c->end[!from].scale == PACKET_TCP_NO_SCALE) {
        scale = 0;
    }
    return larger((uint32_t)s->window << scale, 1);
}

// The first segment that is seen of an end.
static void meet(packet_tcp_t *c, unsigned from, const packet_segment_t *s) {
    packet_tcp_end_t *me = &c->end[from], *peer = &c->end[!from];
    bool syn = (s->flags & PACKET_TCP_SYN) != 0;
    memset(me, 0, sizeof *me);
    me->flags = KNOWN | (syn ? 0 : SYN_ACKED);
    me->start = s->seq + syn;
    me->end = me->limit = s->seq + s->size;
    me->scale = s->scale;
    if ((peer->flags & KNOWN) != 0) {
        me->limit = later(me->limit, me->start + peer->window);
    } else if (c->loose) {
        me->limit += UINT16_MAX << SCALE_MAX; // what its receiver offers was not seen
    }
}

bool packet_tcp_begin(packet_tcp_t *c, const packet_segment_t *s, bool loose) {
    memset(c, 0, sizeof *c);
    bool syn = (s->flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) == PACKET_TCP_SYN;
    if (!syn && (!loose || (s->flags & PACKET_TCP_RST) != 0)) {
        return false;
    }
    c->loose = !syn;
    packet_tcp_take(c, 0, s);
    return true;
}

// Whether a RST is exactly where its receiver expects the next byte; or behind all that was sent, which says the same
// of a receiver whose acknowledgements are under way.
static bool reset_is_exact(const packet_tcp_end_t *me, const packet_tcp_end_t *peer, uint32_t seq) {
    return seq == me->end || ((peer->flags & ACKED) != 0 && seq == peer->ack);
}

static packet_tcp_fit_t fit_reset(const packet_tcp_t *c, unsigned from, const packet_segment_t *s) {
    const packet_tcp_end_t *me = &c->end[from], *peer = &c->end[!from];
    if ((me->flags & KNOWN) == 0) { // refused: it must acknowledge the SYN
        bool answers = (s->flags & PACKET_TCP_ACK) != 0 && !after(peer->start, s->ack) && !after(s->ack, peer->end);
        return answers ? PACKET_TCP_TAKE : c->loose ? PACKET_TCP_LET : PACKET_TCP_OUT;
    }
    if (reset_is_exact(me, peer, s->seq)) {
        return PACKET_TCP_TAKE;
    }
    if ((peer->flags & KNOWN) == 0) {
        return PACKET_TCP_LET; // it answers an old segment of an end that has not answered this connection
    }
    uint32_t first = (peer->flags & ACKED) != 0 ? peer->ack : me->start;
    return after(first, s->seq) || after(s->seq, me->limit) ? PACKET_TCP_OUT : PACKET_TCP_LET;
}

// A SYN that does not acknowledge: said again, or both ends call. In an open connection it is the other end that asks
// what this means (RFC 5961, 4).
static packet_tcp_fit_t fit_syn(const packet_tcp_t *c) {
    if (c->phase >= PACKET_TCP_TIME_WAIT) {
        return PACKET_TCP_AGAIN;
    }
    return c->phase == PACKET_TCP_SYN_SENT ? PACKET_TCP_TAKE : PACKET_TCP_LET;
}

// All but RST and SYN alone, where both ends are known. A probe of a closed window is one byte beyond it, and what its
// sender says next begins behind that; or it is empty, one byte before what was acknowledged.
static packet_tcp_fit_t fit_window(const packet_tcp_t *c, unsigned from, const packet_segment_t *s) {
    const packet_tcp_end_t *me = &c->end[from], *peer = &c->end[!from];
    uint32_t first = me->end - peer->window - 2, last = later(me->limit + 1, me->end);
    uint32_t stale = peer->end - larger(me->window, ACK_WINDOW_MIN);
    bool data = !after(s->seq, last) && !after(first, s->seq + s->size);
    bool ack = !after(s->ack, peer->end) && !after(stale, s->ack);
    return data && ack ? PACKET_TCP_TAKE : PACKET_TCP_OUT;
}

packet_tcp_fit_t packet_tcp_fit(const packet_tcp_t *c, unsigned from, const packet_segment_t *s) {
    const packet_tcp_end_t *me = &c->end[from], *peer = &c->end[!from];
    if ((s->flags & PACKET_TCP_RST) != 0) {
        return fit_reset(c, from, s);
    }
    if ((s->flags & PACKET_TCP_ACK) == 0) {
        return fit_syn(c);
    }
    if (c->phase == PACKET_TCP_RESET) {
        return PACKET_TCP_LET;
    }
    if ((peer->flags & KNOWN) == 0) { // who began goes on without an answer: it came another way, or was invented
        return c->loose ? PACKET_TCP_TAKE : PACKET_TCP_OUT;
    }
    if ((me->flags & KNOWN) == 0) {
        bool answers = !after(peer->start, s->ack) && !after(s->ack, peer->end);
        if (c->loose) {
            return PACKET_TCP_TAKE;
        }
        // An ACK alone: the end that was called has an old connection, and its caller will reset that.
        return (s->flags & PACKET_TCP_SYN) == 0 ? PACKET_TCP_LET : answers ? PACKET_TCP_TAKE : PACKET_TCP_OUT;
    }
    return fit_window(c, from, s);
}

static void acknowledge(packet_tcp_t *c, unsigned from, const packet_segment_t *s) {
    packet_tcp_end_t *me = &c->end[from], *peer = &c->end[!from];
    uint32_t window = offered(c, from, s);
    me->ack = (me->flags & ACKED) != 0 ? later(me->ack, s->ack) : s->ack;
    me->flags |= ACKED;
    me->window = larger(me->window, window);
    if ((peer->flags & KNOWN) == 0) {
        return;
    }
    peer->limit = later(peer->limit, s->ack + window);
    if (!after(peer->start, s->ack)) {
        peer->flags |= SYN_ACKED;
    }
    if ((peer->flags & FIN) != 0 && !after(peer->end, s->ack)) {
        peer->flags |= FIN_ACKED;
    }
}

static packet_tcp_phase_t phase_of(unsigned a, unsigned b) {
    if ((a & b & KNOWN) == 0) {
        return PACKET_TCP_SYN_SENT;
    }
    if ((a & b & SYN_ACKED) == 0) {
        return PACKET_TCP_SYN_RECEIVED;
    }
    if ((a & b & FIN) != 0) {
        return (a & b & FIN_ACKED) != 0 ? PACKET_TCP_TIME_WAIT : PACKET_TCP_CLOSING;
    }
    return ((a | b) & FIN) != 0 ? PACKET_TCP_HALF_CLOSED : PACKET_TCP_ESTABLISHED;
}

void packet_tcp_take(packet_tcp_t *c, unsigned from, const packet_segment_t *s) {
    packet_tcp_end_t *me = &c->end[from], *peer = &c->end[!from];
    if ((s->flags & PACKET_TCP_RST) != 0) {
        c->phase = PACKET_TCP_RESET;
        return;
    }
    bool first_syn = (s->flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) == PACKET_TCP_SYN && (peer->flags & KNOWN) == 0;
    if ((me->flags & KNOWN) == 0 || first_syn) { // a caller may choose another number while nobody has answered
        meet(c, from, s);
    }
    me->end = later(me->end, s->seq + s->size);
    if (s->part) {
        me->end = later(me->end, me->limit); // its length is not known
    }
    if ((s->flags & PACKET_TCP_FIN) != 0) {
        me->flags |= FIN;
    }
    if ((s->flags & PACKET_TCP_ACK) != 0) {
        acknowledge(c, from, s);
    } else {
        me->window = larger(me->window, offered(c, from, s));
    }
    c->phase = (uint8_t)phase_of(c->end[0].flags, c->end[1].flags);
}

bool packet_tcp_sent(const packet_tcp_t *c, unsigned from, uint32_t seq) {
    const packet_tcp_end_t *me = &c->end[from], *peer = &c->end[!from];
    return (me->flags & KNOWN) == 0 ||
           (!after(seq, me->end) && !after(me->end - larger(peer->window, ACK_WINDOW_MIN), seq));
}
