// SPDX-License-Identifier: MIT
#ifndef FLOE_LIBC_SYS_TYPES_H
#define FLOE_LIBC_SYS_TYPES_H
#include <stddef.h>
typedef long ssize_t;
typedef long off_t;
#endif
