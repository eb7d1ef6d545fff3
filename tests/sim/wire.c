// SPDX-License-Identifier: MIT
// One Ethernet segment between all nodes: frames are lost, late, doubled, or have a bit that is another one; a node may
// be cut off for a while. ARP has no checksum, and an Ethernet header none that gets so far: bits change behind that
// header, and in IP alone. Owns nothing: a frame on its way is the receiver's event. Context: any.

#include <stdlib.h>
#include <string.h>

#include "world.h"

enum { ETH = 14, MAC = 6, FRAGMENT = 44 };

static bool is_split(unsigned node) {
    const scenario_t *p = &world.plan;
    for (unsigned i = 0; i < p->splits; i++) {
        if (p->split_node[i] == node && world.now >= p->split[i] && world.now < p->split[i] + p->split_for[i]) {
            return true;
        }
    }
    return false;
}

// Of a datagram's fragments only the first one gets a wrong bit: two of them, in two fragments, may cancel each other
// out in its checksum, and nothing else covers it.
static bool is_later_fragment(const uint8_t *frame, uint32_t len) {
    const uint8_t *ip = frame + ETH;
    if (ip[0] >> 4 == 4) {
        return ((ip[6] & 0x1f) | ip[7]) != 0;
    }
    return len >= ETH + 48 && ip[6] == FRAGMENT && (ip[42] | (ip[43] & 0xf8)) != 0;
}

static void pass(unsigned to, const uint8_t *frame, uint32_t len, uint64_t hash) {
    const scenario_t *p = &world.plan;
    bool faults = world.phase == SIM_FAULTS;
    uint64_t takes = 1000 + p->latency + (p->jitter > 0 ? below((uint32_t)p->jitter) : 0);
    if (faults && chance(p->late)) {
        takes += below((uint32_t)p->late_by);
    }
    event_t e = {.kind = EVENT_FRAME, .len = len, .data = malloc(len), .hash = hash};
    memcpy(e.data, frame, len);
    bool ip = (frame[12] == 0x08 && frame[13] == 0x00) || (frame[12] == 0x86 && frame[13] == 0xdd);
    if (faults && ip && len > ETH + 20 && chance(p->corrupt) && !is_later_fragment(frame, len)) {
        unsigned bit = below((len - ETH) * 8);
        e.data[ETH + bit / 8] ^= (uint8_t)(1u << bit % 8);
        e.hash = hash_bytes(e.data, len);
        trace(to, "corrupt", bit, len);
    }
    push_event(to, world.now + takes, e);
}

void wire_send(unsigned from, const uint8_t *frame, uint32_t len) {
    uint64_t hash = hash_bytes(frame, len);
    trace(from, "sends", len, hash);
    for (unsigned to = 0; to < SIM_NODES; to++) {
        bool group = (frame[0] & 1) != 0;
        if (to == from || (!group && frame[MAC - 1] != to) || !node_is_on(to) || is_split(from) || is_split(to)) {
            continue;
        }
        if (world.phase == SIM_FAULTS && chance(world.plan.loss)) {
            trace(to, "lost", len, 0);
            continue;
        }
        pass(to, frame, len, hash);
        if (world.phase == SIM_FAULTS && chance(world.plan.twice)) {
            pass(to, frame, len, hash);
        }
    }
}
