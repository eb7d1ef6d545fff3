// SPDX-License-Identifier: MIT
// Checksums kept right while bytes are changed: see packetsum.h. Owns nothing. Context: main loop; host tests.

#include "packetsum.h"

#include <string.h>

#include "packetbytes.h"

static inline uint16_t load(const uint8_t *at) {
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

// What a word's change adds: the complement of the old one, and the new one; 0 where it is the same.
static inline packet_change_t swap(packet_change_t change, uint16_t old, uint16_t new) {
    return old == new ? change : change + (uint16_t)~old + new;
}

packet_change_t packet_sum_put(packet_change_t change, uint8_t *at, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i + 1 < size; i += 2) {
        change = swap(change, load(at + i), load(bytes + i));
    }
    memcpy(at, bytes, size);
    return change;
}

packet_change_t packet_sum_put16(packet_change_t change, uint8_t *at, uint16_t value) {
    uint8_t bytes[2];
    packet_put16(bytes, value);
    return packet_sum_put(change, at, bytes, sizeof bytes);
}

packet_change_t packet_sum_put32(packet_change_t change, uint8_t *at, uint32_t value) {
    uint8_t bytes[4];
    packet_put32(bytes, value);
    return packet_sum_put(change, at, bytes, sizeof bytes);
}

packet_change_t packet_sum_mend(uint8_t *sum, packet_change_t change, packet_sum_kind_t kind) {
    uint16_t old = load(sum), new;
    if (change == 0 || (kind == PACKET_SUM_UDP && old == 0)) {
        return 0;
    }
    if (kind == PACKET_SUM_PARTIAL) {
        new = packet_fold((uint64_t)old + change);
    } else {
        new = (uint16_t)~packet_fold((uint64_t)(uint16_t)~old + change);
        new = kind == PACKET_SUM_UDP && new == 0 ? 0xffff : new;
    }
    memcpy(sum, &new, sizeof new);
    return swap(0, old, new);
}
