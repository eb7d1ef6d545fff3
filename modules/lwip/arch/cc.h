// SPDX-License-Identifier: MIT
// The compiler and platform as lwIP wants to see them. Owns nothing. Not here: options (lwipopts.h).
// Context: included by every lwIP source file.

#ifndef FLOE_LWIP_CC_H
#define FLOE_LWIP_CC_H

#include <limits.h>
#include <stdint.h>

#include "hal.h"

#ifndef BYTE_ORDER
#define BYTE_ORDER LITTLE_ENDIAN
#endif
#ifdef SSIZE_MAX // a C library with POSIX types, as in the host tests
#include <sys/types.h>
#else
typedef long ssize_t;
#define SSIZE_MAX LONG_MAX
#endif
#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_UNISTD_H 1
#define X8_F "02x"
#define U16_F "u"
#define S16_F "d"
#define X16_F "x"
#define U32_F "u"
#define S32_F "d"
#define X32_F "x"
#define SZT_F "zu"

// Assertions stay on: a broken invariant ends the VM instead of corrupting it. The line tells it from the others; their
// texts would be 2 % of an image.
#define LWIP_PLATFORM_ASSERT(msg) hal_panic("lwIP: %s:%d", __FILE__, __LINE__)
#define LWIP_PLATFORM_DIAG(x) ((void)0)

uint32_t netrand_u32(void);
#define LWIP_RAND() netrand_u32()

#endif
