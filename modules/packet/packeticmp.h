// SPDX-License-Identifier: MIT
// ICMP errors, and TCP resets in their place: when one may be sent (RFC 1812, 4.3.2.7; RFC 4443, 2.4), how often, and
// what stands in it. Owns nothing. Not here: sending it (packetfwd.h). Context: main loop; host tests.

#ifndef FLOE_PACKETICMP_H
#define FLOE_PACKETICMP_H

#include <stdbool.h>

#include "packetparse.h"

typedef enum {
    PACKET_ERROR_TTL,
    PACKET_ERROR_NO_ROUTE,
    PACKET_ERROR_HOST, // nobody has the address
    PACKET_ERROR_TOO_BIG,
    PACKET_ERROR_ADMIN, // forbidden
    PACKET_ERROR_PORT,
    PACKET_ERROR_NET, // forbidden, by another name
} packet_error_t;

// A bucket of errors: so many at once, so many a second after that.
enum { PACKET_ERRORS_BURST = 50, PACKET_ERRORS_PER_S = 1000 };
typedef struct {
    uint64_t since_ns; // when it was last filled
    uint32_t left;
} packet_bucket_t;
bool packet_bucket_take(packet_bucket_t *l, uint64_t now_ns);

// Whether an error about this packet may be sent at all.
bool packet_icmp_may(const packet_t *p);
// Write a frame without its MAC addresses to out, which has room for PACKET_LARGE_ROOM bytes: Ethernet's type, an IP
// header from `source` to the packet's sender, the error, and what fits of the packet. Returns its bytes.
uint32_t packet_icmp_make(uint8_t *out, const packet_t *p, packet_error_t error, uint16_t mtu, const uint8_t *source);
// The same for a TCP packet: a reset from where it wanted to go (RFC 9293, 3.10.7.1). 0: it is one itself.
uint32_t packet_icmp_reset(uint8_t *out, const packet_t *p);

#endif
