// SPDX-License-Identifier: MIT
// ISO C 7.27.1: the types alone. Clocks are hal.h's.
#ifndef FLOE_LIBC_TIME_H
#define FLOE_LIBC_TIME_H
#include <stddef.h>
typedef long time_t;
struct tm {
    int tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst;
};
#endif
