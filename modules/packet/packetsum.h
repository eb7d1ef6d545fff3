// SPDX-License-Identifier: MIT
// Checksums kept right while bytes are changed, by RFC 1624, equation 3: what a change does to a sum is gathered, and
// then put into each checksum that covers the changed bytes. Ones' complement sums do not care for the order of bytes,
// so all is done in memory's; what is changed must begin at an even offset of what is summed.
// Owns nothing. Not here: whole sums (packetbytes.h). Context: main loop; host tests.

#ifndef FLOE_PACKETSUM_H
#define FLOE_PACKETSUM_H

#include <stddef.h>
#include <stdint.h>

// The sum of all changes so far; 0: none, to begin with. No more than 32,767 words may be changed.
typedef uint32_t packet_change_t;

// Put new bytes where old ones are, an even number of them, and add what that changes.
packet_change_t packet_sum_put(packet_change_t change, uint8_t *at, const uint8_t *bytes, size_t size);
// The same for one number, which is put in network order.
packet_change_t packet_sum_put16(packet_change_t change, uint8_t *at, uint16_t value);
packet_change_t packet_sum_put32(packet_change_t change, uint8_t *at, uint32_t value);

// How a checksum is written.
typedef enum {
    PACKET_SUM_PLAIN,   // IPv4 header, TCP, ICMP: complemented
    PACKET_SUM_UDP,     // 0: there is none, and that stays; a sum of 0 is written 0xffff (RFC 768)
    PACKET_SUM_PARTIAL, // what a device completes: the sum of the pseudo-header alone, not complemented
} packet_sum_kind_t;

// Put changes into the checksum at `sum`. Returns what this changed in turn, for a sum that covers the checksum too.
packet_change_t packet_sum_mend(uint8_t *sum, packet_change_t change, packet_sum_kind_t kind);

#endif
