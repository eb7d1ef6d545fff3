// SPDX-License-Identifier: MIT
// The guest's end of its console: what the host types goes through the input queue, Ctrl-C comes out of it, and
// programs come in raw-paste mode with its flow control, while the guest prints to a host that makes room when it
// likes. port/hal/console.c, port/dev/rawpaste.c. Not here: the lines of the REPL, which are upstream's.

#include <string.h>

#include "py/mpconfig.h" // ahead of all others of Python's

#include "dev/rawpaste.c"
#include "hal/console.c"
#include "world.h"

enum { INPUT_QUEUE = 65536, MOST = 1 << 18, MOST_QUEUED = 1 << 17, DEEDS = 300, MOST_TYPED = 40000, CTRL_A = 1 };

// ---- the machine ---------------------------------------------------------------------------------

const hal_platform_t *hal_platform; // a PC
static uint64_t now;
static size_t host_room, got, wrote;
static FUZZ_SCRATCH uint8_t host_got[MOST], guest_wrote[MOST];
static hal_event_source_t *source;
static bool
    known; // whether what the guest has not read is: an interrupt may drop it, and a serial port is read unasked

uint64_t hal_clock_ns(void) { return now += 1000; }
void hal_event_add(hal_event_source_t *s) { source = s; }
bool hal_event_run(void) { return source != NULL && source->run(source->arg); }

void hal_event_wait(uint64_t deadline_ns) {
    hal_event_run();
    now = now + 20000000 < deadline_ns ? now + 20000000 : deadline_ns > now ? deadline_ns : now;
}

static void reaches_host(const void *data, size_t len) {
    FUZZ_CHECK(got + len <= sizeof host_got);
    memcpy(host_got + got, data, len);
    got += len;
}

static size_t sink_send(void *ctx, const void *data, size_t len) {
    (void)ctx;
    size_t n = len < host_room ? len : host_room;
    reaches_host(data, n);
    host_room -= n;
    return n;
}

static bool sink_idle(void *ctx) {
    (void)ctx;
    return true;
}

static const hal_console_sink_t host = {sink_send, sink_idle, NULL};

void hal_uart_write(const char *data, size_t len) { reaches_host(data, len); }

size_t hal_uart_read(char *data, size_t size) {
    size_t len;
    uint8_t *typed = in_bytes(size, &len);
    memcpy(data, typed, len);
    known = false;
    return len;
}

// ---- Python --------------------------------------------------------------------------------------

mp_state_ctx_t mp_state_ctx;
const mp_print_t mp_plat_print;
#define TYPE(name) const mp_obj_type_t name
TYPE(mp_type_MemoryError);
TYPE(mp_type_KeyboardInterrupt);
TYPE(mp_type_SystemExit);

static FUZZ_SCRATCH uint8_t program[MOST]; // what the host has pasted
static size_t program_len;
static unsigned windows; // that it was told to go on with
static bool program_exact, ran;

static vstr_t text;
static bool raises; // there is no memory: the program is lost, and must not run

unsigned nlr_push(nlr_buf_t *nlr) {
    (void)nlr;
    return raises;
}
void nlr_pop(void) {}
NORETURN void nlr_jump(void *value) {
    (void)value;
    fuzz_leave();
}
vstr_t *vstr_new(size_t alloc) {
    text = (vstr_t){.buf = in_space(MOST), .alloc = alloc};
    return &text;
}
void vstr_add_strn(vstr_t *v, const char *s, size_t len) {
    FUZZ_CHECK(v == &text && v->len + len <= MOST);
    memcpy(v->buf + v->len, s, len);
    v->len += len;
}
mp_lexer_t *mp_lexer_new_from_str_len(qstr name, const char *s, size_t len, size_t free_len) {
    (void)name;
    (void)free_len;
    FUZZ_CHECK(!program_exact || (len == program_len && memcmp(s, program, len) == 0));
    ran = true;
    return NULL;
}
mp_parse_tree_t mp_parse(mp_lexer_t *lex, mp_parse_input_kind_t kind) {
    (void)lex;
    (void)kind;
    return (mp_parse_tree_t){0};
}
mp_obj_t mp_compile(mp_parse_tree_t *tree, qstr name, bool repl) {
    (void)tree;
    (void)name;
    (void)repl;
    return mp_const_none;
}
mp_obj_t mp_call_function_0(mp_obj_t f) { return f; }
void mp_handle_pending(bool raise_exc) { (void)raise_exc; }
NORETURN void mp_raise_msg(const mp_obj_type_t *type, mp_rom_error_text_t msg) {
    (void)type;
    (void)msg;
    fuzz_leave();
}
bool mp_obj_is_subclass_fast(mp_const_obj_t object, mp_const_obj_t classinfo) { return object == classinfo; }
const mp_obj_type_t *mp_obj_get_type(mp_const_obj_t o) { return o; }
void mp_obj_print_exception(const mp_print_t *print, mp_obj_t exc) {
    (void)print;
    (void)exc;
}
void mp_hal_set_interrupt_char(int c) { hal_console_interrupt_char = c; }
mp_uint_t mp_hal_stdout_tx_strn(const char *str, size_t len) {
    FUZZ_CHECK(wrote + len <= sizeof guest_wrote);
    memcpy(guest_wrote + wrote, str, len);
    wrote += len;
    windows += len == 1 && str[0] == '\x01';
    hal_console_write(str, len);
    return len;
}

// ---- the host types, the guest reads -------------------------------------------------------------

static FUZZ_SCRATCH uint8_t all_typed[MOST_QUEUED], typed[MOST_TYPED];
static uint8_t *queue = all_typed;
static size_t queued; // what the guest has not read, oldest first
static bool takes;    // an interrupt is one, or an ordinary byte after all

static bool on_interrupt(void) {
    known = known && !takes;
    return takes;
}

static void type(const uint8_t *data, size_t len) {
    size_t before = hal_console_input_room(), n = hal_console_input(data, len);
    FUZZ_CHECK(n <= len && hal_console_input_room() <= INPUT_QUEUE && (n == len || n >= before || !known));
    if (known) {
        FUZZ_CHECK(queued + n <= INPUT_QUEUE);
        if (queue + queued + n > all_typed + sizeof all_typed) {
            queue = memmove(all_typed, queue, queued);
        }
        memcpy(queue + queued, data, n);
        queued += n;
    }
}

static int next_char(void) {
    char c;
    if (hal_console_read(&c, 1) == 0) {
        FUZZ_CHECK(!known || queued == 0);
        return -1;
    }
    if (known) {
        FUZZ_CHECK(queued > 0 && queue[0] == (uint8_t)c);
        queue++, queued--;
    }
    return (uint8_t)c;
}

// A program that waits in the queue, up to what ends it; raw-paste mode takes what it can of that at once.
static void paste_char(int c) {
    size_t before = hal_console_input_room();
    size_t held = queued;
    bool ends = c == CHAR_CTRL_C || c == CHAR_CTRL_D;
    if (!ends && program_len < sizeof program) {
        program[program_len++] = (uint8_t)c;
    }
    ran = false;
    floe_paste_char(c);
    FUZZ_CHECK(floe_paste_active() == !ends && (!ran || (ends && !raises)));
    size_t taken = hal_console_input_room() - before;
    if (known) {
        FUZZ_CHECK(taken <= held && memchr(queue, CHAR_CTRL_C, taken) == NULL &&
                   memchr(queue, CHAR_CTRL_D, taken) == NULL);
        memcpy(program + program_len, queue, taken);
        program_len += taken;
        queue += taken, queued -= taken;
        FUZZ_CHECK(!program_exact || windows == program_len / WINDOW);
    } else {
        program_exact = program_exact && taken == 0;
    }
}

static void guest_reads(unsigned most) {
    for (int c; most > 0 && program_len < MOST - INPUT_QUEUE && (c = next_char()) >= 0; most--) {
        if (floe_paste_active()) {
            paste_char(c);
        } else if (c == CTRL_A) { // what stands for "\x05A\x01" here
            program_len = 0;
            program_exact = true;
            windows = 0;
            floe_paste_begin();
        }
    }
}

// All that the guest wrote is at the host, in the queue or counted as dropped; if none was dropped, byte for byte.
static void look(void) {
    FUZZ_CHECK(got + ring_used(&out) + dropped == wrote);
    FUZZ_CHECK(dropped > 0 || memcmp(host_got, guest_wrote, got) == 0);
    FUZZ_CHECK(!known || hal_console_readable() == (queued > 0));
}

static void deed(void) {
    size_t len;
    uint8_t *data;
    switch (in_u8() % 10) {
        case 0:
        case 1:
            data = in_bytes(255, &len);
            type(data, len);
            break;
        case 2:
            len = in_u16() % sizeof typed;
            memset(typed, in_u8(), len);
            type(typed, len);
            break;
        case 3:
        case 4:
            guest_reads(in_below(2000));
            break;
        case 5:
            if (wrote < MOST / 2) {
                data = in_bytes(4000, &len);
                mp_hal_stdout_tx_strn((const char *)data, len);
            }
            break;
        case 6:
            host_room = in_below(40000);
            break;
        case 7:
            hal_event_run();
            break;
        case 8:
            takes = in_u8() & 1;
            mp_hal_set_interrupt_char(in_u8() & 1 ? CHAR_CTRL_C : -1);
            break;
        case 9:
            hal_console_flush(in_below(200) * 1000);
            break;
    }
}

void fuzz_one(void) {
    static char input[INPUT_QUEUE];
    uint8_t how = in_u8();
    known = true;
    host_room = MOST;
    hal_console_on_interrupt = on_interrupt;
    hal_console_input_buffer(input, sizeof input); // as dev/repl.c
    if (how & 1) {
        hal_console_attach(&host);
    }
    raises = how & 2;
    for (unsigned i = 0; i < DEEDS && in_left() > 0; i++) {
        deed();
        look();
    }
}
