// SPDX-License-Identifier: MIT
// Unpredictable numbers for the stack. Owns nothing. Not here: netrand_isn (nethooks.h). Context: main loop.

#ifndef FLOE_NETRAND_H
#define FLOE_NETRAND_H

#include <stddef.h>
#include <stdint.h>

#include "lwip/ip_addr.h"

// Draw the key. Once, before lwIP starts.
void netrand_init(void);
uint32_t netrand_u32(void);
// The next local port to try for a connection to there.
uint16_t netrand_port(const ip_addr_t *remote, uint16_t remote_port);
// SipHash-2-4 of len bytes under a 128-bit key.
uint64_t netrand_siphash(const uint64_t k[2], const void *data, size_t len);

#endif
