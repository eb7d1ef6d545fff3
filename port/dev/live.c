// SPDX-License-Identifier: MIT
// The live REPL of a dev image: while the script runs an asyncio loop, or a loop of its own by floe.beside(), console
// input goes to a REPL beside it, run from MicroPython's scheduler between two bytecodes of the script, as a scheduled
// function is. Owns what is held back of the script's output while a host is in raw mode. Not here: the REPL itself
// (repl.c, rawpaste.c, upstream's pyexec.c). Context: main loop; serve() does not nest.
//
// Ctrl-C there interrupts what was typed there, never the script. A soft reset in raw mode, which mpremote asks for
// before everything it does, is answered and not done; Ctrl-D at the friendly prompt, and SystemExit, are real ones.

#include "dev.h"
#include "port.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/objmodule.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/readline/readline.h"
#include "shared/runtime/pyexec.h"

enum { HELD_MAX = 65536, TURN_NS = 2000000 };

static bool running;   // the script runs
static unsigned loops; // asyncio's, and those of beside(), that it is in
static bool serving;   // the REPL has the console, and what it runs
static bool interrupt_script;
static mp_sched_node_t node;
static char held[HELD_MAX];
static size_t held_len;
static uint64_t lost; // bytes of the script's output that held had no room for
static uint64_t pause_ns;

uint64_t floe_live_pause_ns(void) { return pause_ns; }

bool floe_live_withholds(void) { return running && loops > 0 && !serving; }

bool floe_live_serves(void) { return serving; }

bool floe_live_interrupt_script(void) {
    interrupt_script = serving;
    return serving;
}

// ---- output -------------------------------------------------------------------------------------

bool floe_live_holds(const char *data, size_t len) {
    if (!running || serving || pyexec_mode_kind != PYEXEC_MODE_RAW_REPL) {
        return false;
    }
    size_t n = len < HELD_MAX - held_len ? len : HELD_MAX - held_len;
    memcpy(held + held_len, data, n);
    held_len += n;
    lost += len - n;
    return true;
}

void floe_live_release(void) {
    if (pyexec_mode_kind == PYEXEC_MODE_RAW_REPL || held_len == 0) {
        return;
    }
    size_t len = held_len;
    held_len = 0;
    hal_console_write(held, len);
    if (lost > 0) {
        mp_printf(&mp_plat_print, "\nfloe: %u bytes of output were dropped while a host was in raw mode\n",
                  (unsigned)lost);
        lost = 0;
    }
}

// ---- the asyncio loop ---------------------------------------------------------------------------

static mp_obj_t *core_slot(qstr name) {
    mp_obj_t core = MP_STATE_VM(floe_live_core);
    if (core == MP_OBJ_NULL) {
        return NULL;
    }
    mp_obj_module_t *m = MP_OBJ_TO_PTR(core);
    mp_map_elem_t *e = mp_map_lookup(&m->globals->map, MP_OBJ_NEW_QSTR(name), MP_MAP_LOOKUP);
    return e != NULL ? &e->value : NULL;
}

// Call what runs a loop, and count.
static mp_obj_t in_loop(mp_obj_t run, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    loops++;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        loops--;
        nlr_jump(nlr.ret_val);
    }
    mp_obj_t result = mp_call_function_n_kw(run, n_args, n_kw, args);
    nlr_pop();
    loops--;
    return result;
}

// Stands for asyncio.core.run_until_complete, which every way to run a loop goes through.
static mp_obj_t run_loop(size_t n_args, const mp_obj_t *args, mp_map_t *kw) {
    mp_obj_t all[4];
    if (n_args + 2 * kw->used > MP_ARRAY_SIZE(all)) {
        mp_raise_TypeError(NULL);
    }
    size_t n = n_args;
    memcpy(all, args, n_args * sizeof(mp_obj_t));
    for (size_t i = 0; i < kw->alloc; i++) {
        if (mp_map_slot_is_filled(kw, i)) {
            all[n++] = kw->table[i].key;
            all[n++] = kw->table[i].value;
        }
    }
    return in_loop(MP_STATE_VM(floe_live_run), n_args, kw->used, all);
}
static MP_DEFINE_CONST_FUN_OBJ_KW(run_loop_obj, 0, run_loop);

// floe.beside(run): call a function that runs a loop which is not asyncio's, without arguments. What it returns.
static mp_obj_t beside(mp_obj_t run) { return in_loop(run, 0, 0, NULL); }
MP_DEFINE_CONST_FUN_OBJ_1(floe_beside_obj, beside);

static void watch_asyncio(void) {
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        qstr name = qstr_from_str("asyncio.core");
        mp_import_name(name, mp_const_none, MP_OBJ_NEW_SMALL_INT(0));
        mp_map_elem_t *core =
            mp_map_lookup(&MP_STATE_VM(mp_loaded_modules_dict).map, MP_OBJ_NEW_QSTR(name), MP_MAP_LOOKUP);
        MP_STATE_VM(floe_live_core) = core != NULL ? core->value : MP_OBJ_NULL;
        mp_obj_t *run = core_slot(MP_QSTR_run_until_complete);
        if (run != NULL) {
            MP_STATE_VM(floe_live_run) = *run;
            *run = MP_OBJ_FROM_PTR(&run_loop_obj);
        }
        nlr_pop();
    } // else the image has no asyncio, and the script cannot run a loop
}

static bool tasks_wait_to_run(void) {
    mp_obj_t *queue = core_slot(MP_QSTR__task_queue);
    mp_obj_t peek[2];
    if (queue == NULL) {
        return false;
    }
    mp_load_method(*queue, MP_QSTR_peek, peek);
    return mp_call_method_n_kw(0, 0, peek) != mp_const_none;
}

// A stream registered with the loop's poller once: ends its sleep, and the loop forgets it. It is ready only while
// there is a task to run: a loop whose tasks all wait for streams sleeps without end, and takes a task right after.
static mp_uint_t wake_ioctl(mp_obj_t self, mp_uint_t request, uintptr_t arg, int *errcode) {
    (void)self;
    if (request == MP_STREAM_POLL) {
        return tasks_wait_to_run() ? arg & MP_STREAM_POLL_RD : 0;
    }
    *errcode = MP_EINVAL;
    return MP_STREAM_ERROR;
}
static const mp_stream_p_t wake_stream = {.ioctl = wake_ioctl};
static MP_DEFINE_CONST_OBJ_TYPE(wake_type, MP_QSTR_wake, MP_TYPE_FLAG_NONE, protocol, &wake_stream);
static const mp_obj_base_t wake_obj = {&wake_type};

// What ran at the REPL may have made tasks: let the loop look at its queue again.
static void wake_loop(void) {
    mp_obj_t *queue = core_slot(MP_QSTR__io_queue);
    nlr_buf_t nlr;
    if (queue != NULL && nlr_push(&nlr) == 0) {
        mp_obj_t wake = MP_OBJ_FROM_PTR(&wake_obj);
        mp_obj_t entry[3] = {mp_const_none, mp_const_none, wake};
        mp_obj_t call[4];
        mp_load_method(mp_load_attr(*queue, MP_QSTR_poller), MP_QSTR_register, call);
        mp_obj_subscr(mp_load_attr(*queue, MP_QSTR_map), mp_obj_id(wake), mp_obj_new_list(3, entry));
        call[2] = wake;
        call[3] = MP_OBJ_NEW_SMALL_INT(MP_STREAM_POLL_RD);
        mp_call_method_n_kw(2, 0, call);
        nlr_pop();
    } // else there is no memory for it, or the script has a loop of its own kind: it wakes when it does
}

// ---- serving ------------------------------------------------------------------------------------

// What the REPL's code may change under the script's feet, and gets back.
typedef struct {
    mp_obj_dict_t *globals, *locals;
    mp_obj_t task; // asyncio.core.cur_task
    int interrupt_char;
} script_t;

static void leave_script(script_t *s) {
    mp_obj_t *task = core_slot(MP_QSTR_cur_task);
    s->globals = mp_globals_get();
    s->locals = mp_locals_get();
    s->task = task != NULL ? *task : MP_OBJ_NULL;
    s->interrupt_char = hal_console_interrupt_char;
    mp_globals_set(&MP_STATE_VM(dict_main));
    mp_locals_set(&MP_STATE_VM(dict_main));
    mp_hal_set_interrupt_char(-1);
    mp_hal_stdout_cooked = true; // somebody is there
    serving = true;
    mp_sched_unlock(); // so that a KeyboardInterrupt and scheduled functions get through to what runs here
}

static void return_to_script(const script_t *s) {
    mp_sched_lock();
    serving = false;
    mp_obj_t *task = core_slot(MP_QSTR_cur_task);
    if (task != NULL) {
        *task = s->task;
    }
    mp_hal_set_interrupt_char(s->interrupt_char);
    mp_globals_set(s->globals);
    mp_locals_set(s->locals);
}

// Feed the REPL until there is no input, or this turn was long enough. True: a soft reset is wanted.
static bool feed(bool *executed) {
    uint64_t end = hal_clock_ns() + TURN_NS;
    if (MP_STATE_VM(repl_line) == NULL) {
        pyexec_event_repl_init();
    }
    char c;
    while (hal_clock_ns() < end && hal_console_read(&c, 1) == 1) {
        bool raw = pyexec_mode_kind == PYEXEC_MODE_RAW_REPL && !floe_paste_active();
        bool nothing_typed = raw && c == CHAR_CTRL_D && MP_STATE_VM(repl_line)->len == 0;
        *executed |= c == CHAR_CTRL_D || (c == '\r' && !floe_paste_active());
        bool exit = (floe_repl_char((unsigned char)c) & PYEXEC_FORCED_EXIT) != 0;
        if (exit && !nothing_typed) {
            return true;
        }
        if (exit) {
            mp_hal_stdout_tx_str("MPY: soft reboot\r\n");
            pyexec_event_repl_init();
        }
    }
    return false;
}

static void serve(mp_sched_node_t *n) {
    (void)n;
    if (!floe_live_withholds() || !hal_console_readable()) {
        return;
    }
    uint64_t start = hal_clock_ns();
    script_t script;
    volatile bool reset = false;
    bool executed = false;
    leave_script(&script);
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        reset = feed(&executed);
        nlr_pop();
    } else {
        mp_obj_print_exception(&mp_plat_print, MP_OBJ_FROM_PTR(nlr.ret_val)); // no memory for the line, as it seems
    }
    if (reset) {
        nlr_jump_abort();
    }
    return_to_script(&script);
    floe_live_release();
    if (executed) {
        wake_loop();
        pause_ns = hal_clock_ns() - start;
    }
    if (interrupt_script) {
        interrupt_script = false;
        floe_interrupt();
    }
}

static bool source_run(void *arg) {
    (void)arg;
    return floe_live_withholds() && hal_console_readable() && mp_sched_schedule_node(&node, serve);
}

static hal_event_source_t source = {.run = source_run};

// ---- start and end ------------------------------------------------------------------------------

void floe_live_begin(void) {
    static bool added;
    if (!added) {
        added = true;
        hal_event_add(&source);
    }
    char word[2];
    size_t pos = 0;
    if (hal_cmdline_next("floe.live", &pos, word, sizeof(word)) == 1 && word[0] == '0') {
        return; // the script wants the console for itself
    }
    if (MP_STATE_VM(floe_live_core) == MP_OBJ_NULL) {
        watch_asyncio();
    }
    running = true;
}

void floe_live_end(void) { running = false; }

void floe_live_fresh_loop(void) {
    mp_obj_t *make = core_slot(qstr_from_str("new_event_loop"));
    nlr_buf_t nlr;
    if (make != NULL && nlr_push(&nlr) == 0) {
        mp_call_function_0(*make);
        nlr_pop();
    }
    gc_collect(); // closes the sockets that only that loop held
}

void floe_live_reset(void) {
    running = serving = interrupt_script = false;
    loops = 0;
    if (held_len > 0) {
        size_t len = held_len;
        held_len = 0;
        hal_console_write(held, len);
    }
    MP_STATE_VM(floe_live_core) = MP_OBJ_NULL;
    MP_STATE_VM(floe_live_run) = MP_OBJ_NULL;
}

MP_REGISTER_ROOT_POINTER(mp_obj_t floe_live_core);
MP_REGISTER_ROOT_POINTER(mp_obj_t floe_live_run);
