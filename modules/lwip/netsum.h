// SPDX-License-Identifier: MIT
// The Internet checksum. Not complemented, in the byte order of the data: what lwIP's LWIP_CHKSUM expects.
// Owns nothing. Not here: pseudo headers (lwIP's own and nettx.c). Context: main loop.

#ifndef FLOE_NETSUM_H
#define FLOE_NETSUM_H

#include <stdbool.h>
#include <stdint.h>

// True when every network device completes TCP checksums itself: then netsum_copy only copies.
extern bool netsum_offloaded;

uint16_t netsum_sum(const void *data, int len);
// Copy len bytes from src to dst, which do not overlap, and return their sum (0 when offloaded).
uint16_t netsum_copy(void *dst, const void *src, uint16_t len);

#endif
