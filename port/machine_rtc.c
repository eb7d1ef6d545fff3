// SPDX-License-Identifier: MIT
// machine.RTC, as MicroPython documents it (docs/library/machine.RTC.rst): the wall clock of hal.h, which starts as
// the host's and is UTC; subseconds are microseconds. Setting it moves this VM's clock alone, until it is started
// again. Owns nothing. Not here: the monotonic clocks, which never step. Context: main loop.

#include "hal/hal.h"
#include "py/runtime.h"
#include "shared/timeutils/timeutils.h"

enum { YEAR_MIN = 2000, YEAR_MAX = 2399, US_PER_S = 1000000, FIELDS = 8 };
#define NS_PER_S 1000000000ull
#define NS_PER_US 1000ull

extern const mp_obj_type_t floe_rtc_type;
static const mp_obj_base_t rtc = {&floe_rtc_type};

static mp_obj_t rtc_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 1, false);
    if (n_args > 0 && mp_obj_get_int(args[0]) != 0) {
        mp_raise_ValueError(MP_ERROR_TEXT("RTC doesn't exist"));
    }
    return MP_OBJ_FROM_PTR(&rtc);
}

static mp_uint_t in_range(mp_obj_t value, mp_int_t low, mp_int_t high) {
    mp_int_t v = mp_obj_get_int(value);
    if (v < low || v > high) {
        mp_raise_ValueError(MP_ERROR_TEXT("no such date, or not in 2000..2399"));
    }
    return (mp_uint_t)v;
}

// ymd: year, month, day; hmsu: hour, minute, second, microsecond.
static void set(const mp_obj_t *ymd, const mp_obj_t *hmsu) {
    mp_uint_t year = in_range(ymd[0], YEAR_MIN, YEAR_MAX), month = in_range(ymd[1], 1, 12);
    mp_uint_t day = in_range(ymd[2], 1, (mp_int_t)timeutils_days_in_month(year, month));
    mp_uint_t hour = in_range(hmsu[0], 0, 23), minute = in_range(hmsu[1], 0, 59), second = in_range(hmsu[2], 0, 59);
    mp_uint_t us = in_range(hmsu[3], 0, US_PER_S - 1);
    uint64_t seconds = timeutils_seconds_since_epoch(year, month, day, hour, minute, second);
    hal_clock_wall_set(seconds * NS_PER_S + us * NS_PER_US);
}

static void get(timeutils_struct_time_t *tm, mp_obj_t *us) {
    uint64_t now = hal_clock_wall_ns();
    timeutils_seconds_since_epoch_to_struct_time(now / NS_PER_S, tm);
    *us = MP_OBJ_NEW_SMALL_INT(now % NS_PER_S / NS_PER_US);
}

// datetime() -> (year, month, day, weekday, hours, minutes, seconds, subseconds); datetime(tuple) sets it, and takes
// any weekday.
static mp_obj_t rtc_datetime(size_t n_args, const mp_obj_t *args) {
    if (n_args > 1) {
        mp_obj_t *items;
        mp_obj_get_array_fixed_n(args[1], FIELDS, &items);
        set(items, items + 4);
        return mp_const_none;
    }
    timeutils_struct_time_t tm;
    mp_obj_t us;
    get(&tm, &us);
    mp_obj_t items[FIELDS] = {
        MP_OBJ_NEW_SMALL_INT(tm.tm_year), MP_OBJ_NEW_SMALL_INT(tm.tm_mon),
        MP_OBJ_NEW_SMALL_INT(tm.tm_mday), MP_OBJ_NEW_SMALL_INT(tm.tm_wday),
        MP_OBJ_NEW_SMALL_INT(tm.tm_hour), MP_OBJ_NEW_SMALL_INT(tm.tm_min),
        MP_OBJ_NEW_SMALL_INT(tm.tm_sec),  us,
    };
    return mp_obj_new_tuple(FIELDS, items);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(rtc_datetime_obj, 1, 2, rtc_datetime);

// init((year, month, day, hour, minute, second, microsecond, tzinfo)): tzinfo is not looked at.
static mp_obj_t rtc_init(mp_obj_t self, mp_obj_t tuple) {
    mp_obj_t *items;
    mp_obj_get_array_fixed_n(tuple, FIELDS, &items);
    set(items, items + 3);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(rtc_init_obj, rtc_init);

// now() -> what init() takes.
static mp_obj_t rtc_now(mp_obj_t self) {
    timeutils_struct_time_t tm;
    mp_obj_t us;
    get(&tm, &us);
    mp_obj_t items[FIELDS] = {
        MP_OBJ_NEW_SMALL_INT(tm.tm_year),
        MP_OBJ_NEW_SMALL_INT(tm.tm_mon),
        MP_OBJ_NEW_SMALL_INT(tm.tm_mday),
        MP_OBJ_NEW_SMALL_INT(tm.tm_hour),
        MP_OBJ_NEW_SMALL_INT(tm.tm_min),
        MP_OBJ_NEW_SMALL_INT(tm.tm_sec),
        us,
        mp_const_none,
    };
    return mp_obj_new_tuple(FIELDS, items);
}
static MP_DEFINE_CONST_FUN_OBJ_1(rtc_now_obj, rtc_now);

static const mp_rom_map_elem_t rtc_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_datetime), MP_ROM_PTR(&rtc_datetime_obj)},
    {MP_ROM_QSTR(MP_QSTR_init), MP_ROM_PTR(&rtc_init_obj)},
    {MP_ROM_QSTR(MP_QSTR_now), MP_ROM_PTR(&rtc_now_obj)},
};
static MP_DEFINE_CONST_DICT(rtc_locals, rtc_locals_table);

MP_DEFINE_CONST_OBJ_TYPE(floe_rtc_type, MP_QSTR_RTC, MP_TYPE_FLAG_NONE, make_new, rtc_make_new, locals_dict,
                         &rtc_locals);
