// SPDX-License-Identifier: MIT
// References to received frames, and small buffers, in free lists. Owns all of them. Not here: who sends them
// (packetsend.c). Context: main loop; host tests.

#include "packetbuf.h"

#include <stdlib.h>

#include "hal.h"

static const struct {
    uint16_t count, room;
} kinds[PACKET_REF_KINDS] = {
    [PACKET_REF_FRAME] = {1024, 0}, // more than all cards lend
    [PACKET_REF_SMALL] = {256, PACKET_SMALL_ROOM},
    [PACKET_REF_LARGE] = {32, PACKET_LARGE_ROOM},
    [PACKET_REF_HELD] = {40, PACKET_HELD_ROOM}, // more than wait: some are on their way out
};
_Static_assert(sizeof(packet_ref_t) % 8 == 0 && PACKET_SMALL_ROOM % 8 == 0 && PACKET_LARGE_ROOM % 8 == 0, "aligned");
_Static_assert(PACKET_HELD_ROOM % 8 == 0, "aligned");

bool packet_pool_fill(packet_pool_t *pool, packet_ref_kind_t kind) {
    size_t each = sizeof(packet_ref_t) + kinds[kind].room;
    uint8_t *block = calloc(kinds[kind].count, each);
    pool->free[kind] = NULL;
    for (unsigned i = 0; block != NULL && i < kinds[kind].count; i++) {
        packet_ref_t *ref = (packet_ref_t *)(void *)(block + i * each);
        ref->kind = (uint8_t)kind;
        ref->next = pool->free[kind];
        pool->free[kind] = ref;
    }
    return block != NULL;
}

bool packet_pool_init(packet_pool_t *pool) {
    pool->free[PACKET_REF_HELD] = NULL;
    // Where one fails the blocks before stay: it is tried again, or the VM has no memory for anything.
    return packet_pool_fill(pool, PACKET_REF_FRAME) && packet_pool_fill(pool, PACKET_REF_SMALL) &&
           packet_pool_fill(pool, PACKET_REF_LARGE);
}

packet_ref_t *packet_ref_get(packet_pool_t *pool, packet_ref_kind_t kind, packet_ref_t *parent) {
    packet_ref_t *ref = pool->free[kind];
    if (ref == NULL) {
        return NULL;
    }
    pool->free[kind] = ref->next;
    ref->refs = 1;
    ref->parent = parent;
    if (parent != NULL) {
        parent->refs++;
    }
    return ref;
}

packet_ref_t *packet_ref_put(packet_pool_t *pool, packet_ref_t *ref) {
    for (;;) {
        hal_assert(ref->refs > 0);
        if (--ref->refs > 0) {
            return NULL;
        }
        packet_ref_t *parent = ref->parent;
        ref->next = pool->free[ref->kind];
        pool->free[ref->kind] = ref;
        if (ref->kind == PACKET_REF_FRAME) {
            return ref;
        }
        if (parent == NULL) {
            return NULL;
        }
        ref = parent;
    }
}
