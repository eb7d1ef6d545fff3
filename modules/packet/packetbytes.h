// SPDX-License-Identifier: MIT
// Numbers in network order at any address, and the Internet checksum (RFC 1071) over bytes. Owns nothing.
// Not here: checksums changed in place (packetsum.h). Context: main loop; host tests.

#ifndef FLOE_PACKETBYTES_H
#define FLOE_PACKETBYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t packet_get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t packet_get32(const uint8_t *p) { return (uint32_t)packet_get16(p) << 16 | packet_get16(p + 2); }
static inline uint64_t packet_get64(const uint8_t *p) { return (uint64_t)packet_get32(p) << 32 | packet_get32(p + 4); }
static inline void packet_put16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void packet_put32(uint8_t *p, uint32_t v) {
    packet_put16(p, v >> 16);
    packet_put16(p + 2, v);
}

static inline uint16_t packet_fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

// The ones' complement sum of these bytes added to `sum`, in memory's order of bytes: fold it, complement it, and copy
// the two bytes to where they belong. An odd last byte counts as if a zero followed.
static inline uint64_t packet_sum(const void *data, size_t len, uint64_t sum) {
    const uint8_t *p = data;
    uint32_t word;
    for (; len >= sizeof word; len -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        sum += word;
    }
    if (len > 0) {
        word = 0;
        memcpy(&word, p, len);
        sum += word;
    }
    return sum;
}

static inline void packet_put_sum(uint8_t *at, uint64_t sum) {
    uint16_t v = (uint16_t)~packet_fold(sum);
    memcpy(at, &v, sizeof v);
}

#endif
