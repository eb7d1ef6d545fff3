// SPDX-License-Identifier: MIT
// Raw-paste mode of the raw REPL (MicroPython's reference manual, "The MicroPython Interactive Interpreter Mode"):
// collects a program with flow control, then runs it. Upstream's waits for the host in the middle of a program, which
// a script that runs beside the REPL must not pay for; this one takes what is there and returns. Owns the program
// while it comes in (a root pointer). Not here: the rest of the REPL, which is upstream's. Context: main loop.

#include "dev.h"
#include "py/compile.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "shared/readline/readline.h"
#include "shared/runtime/pyexec.h"

enum { WINDOW = 32768 }; // bytes; the host may be two windows ahead, which is what the console's queue holds

static struct {
    bool active, lost; // lost: there was no memory for all of it
    uint32_t left;     // of the window
} paste;

bool floe_paste_active(void) { return paste.active; }

void floe_paste_begin(void) {
    static const char reply[] = {'R', 1, WINDOW & 0xff, WINDOW >> 8, 1};
    paste.active = true;
    paste.lost = false;
    paste.left = WINDOW;
    MP_STATE_VM(floe_paste) = NULL;
    mp_hal_stdout_tx_strn(reply, sizeof(reply));
}

static void append(const char *p, size_t len) {
    nlr_buf_t nlr;
    if (!paste.lost && nlr_push(&nlr) == 0) {
        if (MP_STATE_VM(floe_paste) == NULL) {
            MP_STATE_VM(floe_paste) = vstr_new(256);
        }
        vstr_add_strn(MP_STATE_VM(floe_paste), p, len);
        nlr_pop();
    } else {
        paste.lost = true;
        MP_STATE_VM(floe_paste) = NULL;
    }
    paste.left -= (uint32_t)len;
    if (paste.left == 0) {
        mp_hal_stdout_tx_strn("\x01", 1);
        paste.left = WINDOW;
    }
}

// What else has come, up to a character that ends the program.
static void append_waiting(void) {
    const char *p;
    size_t len;
    while ((len = hal_console_peek(&p)) > 0) {
        size_t n = 0;
        while (n < len && n < paste.left && p[n] != CHAR_CTRL_C && p[n] != CHAR_CTRL_D) {
            n++;
        }
        if (n == 0) {
            return;
        }
        append(p, n);
        char sink[256];
        for (size_t gone = 0; gone < n;) {
            gone += hal_console_read(sink, n - gone < sizeof(sink) ? n - gone : sizeof(sink));
        }
    }
}

static mp_obj_t compile(void) {
    vstr_t *v = MP_STATE_VM(floe_paste);
    mp_lexer_t *lex =
        mp_lexer_new_from_str_len(MP_QSTR__lt_stdin_gt_, v != NULL ? v->buf : "", v != NULL ? v->len : 0, 0);
    mp_parse_tree_t tree = mp_parse(lex, MP_PARSE_FILE_INPUT);
    MP_STATE_VM(floe_paste) = NULL;
    return mp_compile(&tree, MP_QSTR__lt_stdin_gt_, false);
}

// As parse_compile_execute() in upstream's shared/runtime/pyexec.c does for a program pasted there.
static int execute(int ended_by) {
    int result = 0;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        if (paste.lost) {
            mp_raise_type(&mp_type_MemoryError);
        }
        if (ended_by == CHAR_CTRL_C) {
            mp_raise_type(&mp_type_KeyboardInterrupt);
        }
        mp_obj_t program = compile();
        mp_hal_set_interrupt_char(CHAR_CTRL_C);
        mp_call_function_0(program);
        mp_hal_set_interrupt_char(-1);
        mp_handle_pending(true);
        nlr_pop();
        mp_hal_stdout_tx_strn("\x04", 1);
    } else {
        mp_hal_set_interrupt_char(-1);
        mp_handle_pending(false);
        mp_hal_stdout_tx_strn("\x04", 1);
        mp_obj_t exc = MP_OBJ_FROM_PTR(nlr.ret_val);
        if (mp_obj_is_subclass_fast(MP_OBJ_FROM_PTR(mp_obj_get_type(exc)), MP_OBJ_FROM_PTR(&mp_type_SystemExit))) {
            result = PYEXEC_FORCED_EXIT;
        } else {
            mp_obj_print_exception(&mp_plat_print, exc);
        }
    }
    mp_hal_stdout_tx_strn("\x04", 1);
    return result;
}

int floe_paste_char(int c) {
    if (c != CHAR_CTRL_C && c != CHAR_CTRL_D) {
        char byte = (char)c;
        append(&byte, 1);
        append_waiting();
        return 0;
    }
    paste.active = false;
    mp_hal_stdout_tx_strn("\x04", 1);
    int result = execute(c);
    MP_STATE_VM(floe_paste) = NULL;
    if (result == 0) {
        mp_hal_stdout_tx_strn(">", 1);
    }
    return result;
}

MP_REGISTER_ROOT_POINTER(struct _vstr_t *floe_paste);
