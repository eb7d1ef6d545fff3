// SPDX-License-Identifier: MIT
#ifndef FLOE_LIBC_INTTYPES_H
#define FLOE_LIBC_INTTYPES_H
#include <stdint.h>
#define PRId32 "d"
#define PRIu32 "u"
#define PRIx32 "x"
#define PRIX32 "X"
#define PRId64 "ld"
#define PRIu64 "lu"
#define PRIx64 "lx"
#define PRId16 "d"
#define PRIu16 "u"
#define PRIx16 "x"
#define PRIu8 "u"
#define PRIx8 "x"
#endif
