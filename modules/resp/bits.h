// SPDX-License-Identifier: MIT
// Strings as bits, as Redis counts them: bit 0 is the highest one of the first byte. Memory only: owns nothing.

#ifndef FLOE_RESP_BITS_H
#define FLOE_RESP_BITS_H

#include <stddef.h>
#include <stdint.h>

// How many of the bits from..to-1 are set.
uint64_t resp_bits_count(const uint8_t *data, uint64_t from, uint64_t to);

// The first of the bits from..to-1 that has this value (0 or 1); `to`: none has.
uint64_t resp_bits_find(const uint8_t *data, uint64_t from, uint64_t to, unsigned bit);

typedef enum { RESP_BITS_AND, RESP_BITS_OR, RESP_BITS_XOR, RESP_BITS_NOT } resp_bits_op_t;

// Join bytes with others of the same number, in place; NOT asks for no others.
void resp_bits_join(uint8_t *to, const uint8_t *from, size_t size, resp_bits_op_t op);

#endif
