// SPDX-License-Identifier: MIT
#ifndef FLOE_LIBC_UNISTD_H
#define FLOE_LIBC_UNISTD_H
#include <stddef.h>
#include <stdio.h> // SEEK_SET
typedef long ssize_t;
#endif
