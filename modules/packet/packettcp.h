// SPDX-License-Identifier: MIT
// A TCP connection (RFC 9293) as somebody between its ends sees it: where it stands, and which segments can belong to
// it.
// Windows are kept for both ends as van Rooij described them (2001): a segment must begin within what its receiver
// offers, must not be older than one window, and must not acknowledge what was never sent.
// Owns nothing. Not here: tables, time (packetflow.h). Context: main loop; host tests.

#ifndef FLOE_PACKETTCP_H
#define FLOE_PACKETTCP_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

enum { PACKET_TCP_FIN = 1, PACKET_TCP_SYN = 2, PACKET_TCP_RST = 4, PACKET_TCP_PSH = 8, PACKET_TCP_ACK = 16 };
enum { PACKET_TCP_NO_SCALE = 0xff };

typedef enum {
    PACKET_TCP_SYN_SENT,     // the first SYN; no answer yet
    PACKET_TCP_SYN_RECEIVED, // both ends have sent theirs
    PACKET_TCP_ESTABLISHED,  // and both are acknowledged
    PACKET_TCP_HALF_CLOSED,  // one end has sent its FIN; the other one may go on for hours
    PACKET_TCP_CLOSING,      // both have
    PACKET_TCP_TIME_WAIT,    // both are acknowledged
    PACKET_TCP_RESET,        // by a RST that its receiver believes
} packet_tcp_phase_t;

// What one end has sent. Numbers are sequence numbers of RFC 9293: they are compared modulo 2^32.
typedef struct {
    uint32_t start;  // behind its SYN
    uint32_t end;    // behind the last it has sent; SYN and FIN count
    uint32_t limit;  // as far as the other end lets it send
    uint32_t ack;    // what it has acknowledged, where `flags` has ACKED
    uint32_t window; // the largest it has offered, scaled
    uint8_t scale;   // of its windows; PACKET_TCP_NO_SCALE: it has not said
    uint8_t flags;   // packettcp.c
} packet_tcp_end_t;

typedef struct {
    packet_tcp_end_t end[2]; // who began, who was called
    uint8_t phase;           // packet_tcp_phase_t
    bool loose;              // begun with a segment in the middle: windows are not known to be scaled
} packet_tcp_t;

// A segment's header.
typedef struct {
    uint32_t seq, ack;
    uint32_t size; // that it takes of the sequence, SYN and FIN too
    uint16_t window;
    uint8_t flags, scale;
    bool part; // a first fragment: there is more of it than size says
} packet_segment_t;

// Read the header. False: cut short, or flags or lengths that no TCP sends.
bool packet_tcp_read(const packet_t *p, packet_segment_t *s);

// A connection begins with this segment: a SYN, or where `loose` any but a RST. False: it cannot.
bool packet_tcp_begin(packet_tcp_t *c, const packet_segment_t *s, bool loose);

typedef enum {
    PACKET_TCP_TAKE,  // it belongs to the connection
    PACKET_TCP_LET,   // its receiver is to judge, and may answer: let it pass, and do as if it had not come
    PACKET_TCP_OUT,   // it does not belong to it
    PACKET_TCP_AGAIN, // a new connection of the same ends: the old one is over
} packet_tcp_fit_t;

// Whether a segment from end[from] fits. Changes nothing.
packet_tcp_fit_t packet_tcp_fit(const packet_tcp_t *c, unsigned from, const packet_segment_t *s);
// Take one that does.
void packet_tcp_take(packet_tcp_t *c, unsigned from, const packet_segment_t *s);
// Whether end[from] may have sent this lately: for headers that ICMP errors quote (RFC 5927, 4.1).
bool packet_tcp_sent(const packet_tcp_t *c, unsigned from, uint32_t seq);

#endif
