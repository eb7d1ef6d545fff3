// SPDX-License-Identifier: MIT
// Port's part of `time`, included by extmod/modtime.c. The clock is UTC.
// Owns nothing. Not here: waiting (mphalport.c). Context: main loop.

#include "hal/hal.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/timeutils/timeutils.h"

#define SLEEP_MAX_S 9e9 // some 285 years

static mp_obj_t mp_time_localtime_get(void) {
    timeutils_struct_time_t tm;
    timeutils_seconds_since_epoch_to_struct_time(hal_clock_wall_ns() / 1000000000ull, &tm);
    mp_obj_t tuple[8] = {
        MP_OBJ_NEW_SMALL_INT(tm.tm_year), MP_OBJ_NEW_SMALL_INT(tm.tm_mon),  MP_OBJ_NEW_SMALL_INT(tm.tm_mday),
        MP_OBJ_NEW_SMALL_INT(tm.tm_hour), MP_OBJ_NEW_SMALL_INT(tm.tm_min),  MP_OBJ_NEW_SMALL_INT(tm.tm_sec),
        MP_OBJ_NEW_SMALL_INT(tm.tm_wday), MP_OBJ_NEW_SMALL_INT(tm.tm_yday),
    };
    return mp_obj_new_tuple(8, tuple);
}

// time.sleep. As CPython: what is negative or no number is refused,
// and what is longer than a clock of nanoseconds counts.
static void mp_time_sleep(mp_obj_t seconds) {
    mp_float_t s = mp_obj_get_float(seconds);
    if (!(s >= 0 && s <= SLEEP_MAX_S)) {
        mp_raise_ValueError(MP_ERROR_TEXT("sleep length out of range"));
    }
    mp_hal_delay_ms((mp_uint_t)(1000 * s));
}

static mp_obj_t mp_time_time_get(void) { return mp_obj_new_int_from_ull(hal_clock_wall_ns() / 1000000000ull); }
