// SPDX-License-Identifier: MIT
// Port's part of `machine`, included by extmod/modmachine.c: reset, identity, sleep.
// Owns nothing. Not here: devices. Context: main loop.

#include "hal/hal.h"
#include "port.h"
#include "py/mphal.h"

extern const mp_obj_type_t floe_rtc_type, machine_timer_type;

#define MICROPY_PY_MACHINE_EXTRA_GLOBALS \
    {MP_ROM_QSTR(MP_QSTR_RTC), MP_ROM_PTR(&floe_rtc_type)}, \
        {MP_ROM_QSTR(MP_QSTR_Timer), MP_ROM_PTR(&machine_timer_type)}, \
        {MP_ROM_QSTR(MP_QSTR_PWRON_RESET), MP_ROM_INT(MACHINE_PWRON_RESET)}, \
        {MP_ROM_QSTR(MP_QSTR_HARD_RESET), MP_ROM_INT(MACHINE_HARD_RESET)}, \
        {MP_ROM_QSTR(MP_QSTR_DEEPSLEEP_RESET), MP_ROM_INT(MACHINE_DEEPSLEEP_RESET)}, \
        {MP_ROM_QSTR(MP_QSTR_SOFT_RESET), MP_ROM_INT(MACHINE_SOFT_RESET)},

enum { MACHINE_PWRON_RESET = 1, MACHINE_HARD_RESET, MACHINE_DEEPSLEEP_RESET = 4, MACHINE_SOFT_RESET };
#define NS_PER_MS 1000000ull

NORETURN static void mp_machine_reset(void) { hal_reset(); }

// A VM's memory does not survive a reset: the host says what ended the start before (floe.reset=hard, deepsleep).
static mp_int_t mp_machine_reset_cause(void) {
    char why[2];
    size_t pos = 0;
    if (floe_starts > 1) {
        return MACHINE_SOFT_RESET;
    }
    if (hal_cmdline_next("floe.reset", &pos, why, sizeof(why)) <= 0) {
        return MACHINE_PWRON_RESET;
    }
    return why[0] == 'd' ? MACHINE_DEEPSLEEP_RESET : MACHINE_HARD_RESET;
}

static void mp_machine_idle(void) { mp_event_wait_ms(1); }

// The UUID of the VM, 16 bytes; empty where the host gave none.
static mp_obj_t mp_machine_unique_id(void) {
    uint8_t uuid[16];
    return mp_obj_new_bytes(uuid, hal_vm_uuid(uuid) ? sizeof(uuid) : 0);
}

static mp_obj_t mp_machine_get_freq(void) {
    uint64_t c0 = hal_clock_cycles(), t0 = hal_clock_ns();
    while (hal_clock_ns() - t0 < NS_PER_MS) {
    }
    return mp_obj_new_int_from_ull((hal_clock_cycles() - c0) * 1000000000ull / (hal_clock_ns() - t0));
}

static void mp_machine_set_freq(size_t n_args, const mp_obj_t *args) {
    (void)n_args;
    (void)args;
    mp_raise_NotImplementedError(MP_ERROR_TEXT("the host sets the frequency"));
}

static void mp_machine_lightsleep(size_t n_args, const mp_obj_t *args) {
    if (n_args == 0) {
        mp_event_wait_indefinite();
    } else {
        mp_hal_delay_ms((mp_uint_t)mp_obj_get_int(args[0]));
    }
}

NORETURN static void mp_machine_deepsleep(size_t n_args, const mp_obj_t *args) {
    if (n_args == 0) {
        hal_exit(0);
    }
    mp_hal_delay_ms((mp_uint_t)mp_obj_get_int(args[0]));
    hal_wake();
}
