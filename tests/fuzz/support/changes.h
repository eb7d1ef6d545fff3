// SPDX-License-Identifier: MIT
// Changes to what is right: the rest of the input says which bytes of a disk become which. Mostly where it has
// content.

#ifndef FLOE_FUZZ_CHANGES_H
#define FLOE_FUZZ_CHANGES_H

#include "world.h"

enum { CHANGES_LINE = 32, CHANGES_LINES = 4096 };

// Where a disk has content.
typedef struct {
    uint16_t line[CHANGES_LINES];
    size_t lines;
} changes_t;

// For fuzz_start(): it looks at every byte. blank: the byte of which a line without content consists. size: at most
// CHANGES_LINES lines.
static inline void changes_find(changes_t *c, const uint8_t *disk, size_t size, uint8_t blank) {
    for (size_t i = 0; i < size / CHANGES_LINE; i++) {
        unsigned k = 0;
        while (k < CHANGES_LINE && disk[i * CHANGES_LINE + k] == blank) {
            k++;
        }
        if (k < CHANGES_LINE) {
            c->line[c->lines++] = (uint16_t)i;
        }
    }
}

static inline void changes_make(const changes_t *c, uint8_t *disk, size_t size) {
    while (in_left() > 0 && c->lines > 0) {
        uint8_t how = in_u8();
        size_t at = (how & 0xc0) == 0xc0 ? in_u16() * 2u
                                         : c->line[in_u8() % c->lines] * (size_t)CHANGES_LINE + in_u8() % CHANGES_LINE;
        for (unsigned i = 1 + how % 4; i > 0; i--) {
            disk[at++ % size] = in_u8();
        }
    }
}

#endif
