// SPDX-License-Identifier: MIT
#ifndef FLOE_LIBC_ALLOCA_H
#define FLOE_LIBC_ALLOCA_H
#define alloca(n) __builtin_alloca(n)
#endif
