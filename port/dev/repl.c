// SPDX-License-Identifier: MIT
// A dev image as a device: boot.py, the script, upstream's friendly and raw REPL on the console, and all of it again
// after a soft reset. Owns the order and the console's larger input queue. Not here: what runs while the script does
// (live.c). Context: main loop.

#include "app.h"
#include "dev.h"
#include "port.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/readline/readline.h"
#include "shared/runtime/pyexec.h"

enum {
    INPUT_SIZE = 65536, // a power of two: two windows of raw-paste mode, and room for what a busy script has not read
    INPUT_END = 0xff    // in no UTF-8 text, and Ctrl-D; tools/floe/stream/keys.py types them
};

static char input[INPUT_SIZE];

// machine.soft_reset(): as upstream a SystemExit, but of a script that called it, not of sys.exit().
static mp_obj_t soft_reset_raise(size_t n_args, const mp_obj_t *args) {
    (void)n_args;
    (void)args;
    mp_obj_t exc = mp_obj_new_exception(&mp_type_SystemExit);
    MP_STATE_VM(floe_soft_reset_exc) = exc;
    nlr_raise(exc);
}
MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(floe_soft_reset_obj, 0, 1, soft_reset_raise);

bool floe_repl_is_soft_reset(const void *exc) { return exc == MP_OBJ_TO_PTR(MP_STATE_VM(floe_soft_reset_exc)); }

static bool stopping;    // floe.stop() was called, or the host's input is over
static bool at_prompt;   // the script has ended
static bool after_enter; // the last character was a carriage return
static bool held_end;    // it was INPUT_END, which may yet be a byte of what is no UTF-8
static bool input_over;  // the host's input has ended, at the prompt or in an input()

// floe.stop(): interrupt the script as Ctrl-C does, and end the VM when it has ended.
static mp_obj_t repl_stop(void) {
    stopping = true;
    if (floe_live_interrupt_script()) {
        return mp_const_none;
    }
    mp_raise_type(&mp_type_SystemExit);
}
MP_DEFINE_CONST_FUN_OBJ_0(floe_stop_obj, repl_stop);

bool floe_repl_input_over(void) { return input_over; }

bool floe_repl_is_input_end(int before, int c) {
    input_over |= before == INPUT_END && c == CHAR_CTRL_D;
    return input_over;
}

// The host's input is over: at the prompt that is the VM's end, after what was typed last has run.
static int input_end(void) {
    if (!at_prompt) {
        return 0; // a script runs beside, and goes on
    }
    input_over = true;
    for (int i = 0; i < 2 && MP_STATE_VM(repl_line)->len > 0; i++) { // a compound statement takes an empty line
        int result = pyexec_event_repl_process_char('\r');
        if (result != 0) {
            return result;
        }
    }
    mp_hal_stdout_tx_str("\r\n");
    stopping = true;
    return PYEXEC_FORCED_EXIT;
}

// A line feed, as files and pipes have it, is the enter key.
static int friendly_char(int c) {
    bool enter_is_done = c == '\n' && after_enter;
    after_enter = c == '\r';
    if (held_end) {
        if (c == CHAR_CTRL_D) {
            held_end = false;
            return input_end();
        }
        pyexec_event_repl_process_char(INPUT_END);
    }
    held_end = c == INPUT_END;
    if (held_end) {
        return 0;
    }
    return enter_is_done ? 0 : pyexec_event_repl_process_char(c == '\n' ? '\r' : c);
}

int floe_repl_char(int c) {
    if (pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
        return friendly_char(c);
    }
    if (floe_paste_active()) {
        return floe_paste_char(c);
    }
    const vstr_t *line = MP_STATE_VM(repl_line);
    if (pyexec_mode_kind == PYEXEC_MODE_RAW_REPL && c == CHAR_CTRL_A && line->len == 2 && line->buf[0] == CHAR_CTRL_E &&
        line->buf[1] == 'A') {
        vstr_reset(MP_STATE_VM(repl_line));
        floe_paste_begin();
        return 0;
    }
    return pyexec_event_repl_process_char(c);
}

// Until there is another __main__ to run: true; until a soft reset, or the VM's end, is wanted: false.
static bool prompt(void) {
    mp_hal_stdout_cooked = true;
    if (MP_STATE_VM(repl_line) == NULL || pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
        pyexec_event_repl_init(); // else a host is in the middle of raw mode, and goes on
    }
    at_prompt = true;
    while (((input_over ? input_end() : floe_repl_char(mp_hal_stdin_rx_chr())) & PYEXEC_FORCED_EXIT) == 0) {
        floe_live_release();
        MP_STATE_THREAD(gc_lock_depth) = 0; // as upstream: nobody could unlock it any more
        if (floe_swap_has_main() && pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
            at_prompt = false;
            return true;
        }
    }
    return false;
}

static int run_script(const char *name) {
    floe_live_begin();
    int code = floe_run_frozen(name);
    floe_live_end();
    return code;
}

static int run_swapped(void) {
    mp_printf(&mp_plat_print, "floe: another __main__ begins\n"); // tools/floe/device/swap.py waits for it
    mp_hal_stdout_cooked = false;
    floe_live_fresh_loop();
    return run_script(NULL);
}

// From one soft reset to the next.
static void session(void) {
    int code = floe_run_frozen("boot.py");
    if (code == 0 && pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
        code = run_script(floe_app.main_module);
    }
    while (code != FLOE_SOFT_RESET && !stopping) {
        if (floe_swap_has_main() && pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
            code = run_swapped();
        } else if (!prompt()) {
            break;
        }
    }
    if (stopping) {
        floe_live_reset();
        floe_end(code > 0 ? code : 0);
    }
}

static void start_python(void) {
    at_prompt = false;
    readline_init0();
    MP_STATE_VM(repl_line) = NULL;
    MP_STATE_VM(floe_paste) = NULL;
    MP_STATE_VM(floe_soft_reset_exc) = MP_OBJ_NULL;
    floe_swap_reset();
    floe_live_reset();
}

static void soft_reset(void) {
    mp_hal_set_interrupt_char(-1);
    floe_live_reset();
    mp_hal_stdout_cooked = true;
    mp_printf(&mp_plat_print, "MPY: soft reboot\n");
    mp_hal_stdout_cooked = false;
    MP_STATE_THREAD(gc_lock_depth) = 0;
    MP_STATE_VM(floe_timers) = NULL; // softtimer.c's
    gc_sweep_all();
    mp_deinit();
    floe_native_reset();
    floe_heap_init();
    mp_init();
    floe_bootargs_init();
}

void floe_repl(void) {
    hal_console_stop = "\x03\x03\r\x01import floe\nfloe.stop()\x04\x02"; // as tools/floe/stream/keys.py types it
    hal_console_input_buffer(input, sizeof(input));
    for (;;) {
        start_python();
        nlr_buf_t nlr;
        nlr.ret_val = NULL;
        if (nlr_push(&nlr) == 0) {
            nlr_set_abort(&nlr); // a soft reset from beside the script ends it here, without its handlers
            session();
            nlr_pop();
        } else if (nlr.ret_val != NULL) {
            mp_obj_print_exception(&mp_plat_print, MP_OBJ_FROM_PTR(nlr.ret_val));
        }
        nlr_set_abort(NULL);
        soft_reset();
    }
}

MP_REGISTER_ROOT_POINTER(mp_obj_t floe_soft_reset_exc);
