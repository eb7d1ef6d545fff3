// SPDX-License-Identifier: MIT
// port/hal/console.c over a sink that takes what it is told to, and a clock that moves 1 us at each look. Commands:
// attach; room N (bytes the sink takes in all, -1 all); per_event N; busy N; idle 0|1; uart_in N; write HEX; sent;
// input HEX; read N; run; state; flush NS; interrupt C; deny 0|1 (no byte is an interrupt after all); peek; grow.

#include "talk.h"

#include "hal/console.c"

const hal_platform_t *hal_platform; // a PC

static uint64_t now;
static long long room = -1;
static int per_event; // bytes of room that each look at the events brings: the console's device works meanwhile
static int busy;      // so many looks at the events find work of other devices
static bool idle = true;
static char sent[1 << 20];
static size_t sent_len, uart_len;
static int interrupts, event_runs;
static hal_event_source_t *added;
static size_t uart_in;

uint64_t hal_clock_ns(void) { return now += 1000; }

bool hal_event_run(void) {
    event_runs++;
    room += per_event;
    bool other = busy > 0 && busy-- > 0;
    return (added != NULL && added->run(added->arg)) || other;
}

// Sleeps for a millisecond at most, as if an interrupt came.
void hal_event_wait(uint64_t deadline_ns) {
    hal_event_run();
    now = now + 1000000 < deadline_ns ? now + 1000000 : deadline_ns > now ? deadline_ns : now;
}

void hal_event_add(hal_event_source_t *s) { added = s; }

void hal_uart_write(const char *data, size_t len) {
    memcpy(sent + sent_len, data, len);
    sent_len += len;
    uart_len += len;
}

size_t hal_uart_read(char *out_data, size_t size) {
    size_t n = uart_in < size ? uart_in : size;
    memset(out_data, 'u', n);
    uart_in -= n;
    return n;
}

static size_t sink_send(void *ctx, const void *data, size_t len) {
    (void)ctx;
    size_t n = room < 0 || (long long)len < room ? len : (size_t)room;
    memcpy(sent + sent_len, data, n);
    sent_len += n;
    room -= room < 0 ? 0 : (long long)n;
    return n;
}

static bool sink_idle(void *ctx) {
    (void)ctx;
    return idle;
}

static const hal_console_sink_t fake_sink = {sink_send, sink_idle, NULL};

static bool deny;
static char grown[8192];

static bool on_interrupt(void) {
    interrupts += !deny;
    return !deny;
}

static void io(const talk_t *t) {
    size_t len;
    if (talk_is(t, "write") || talk_is(t, "input")) {
        unsigned char *p = talk_bytes(t, 1, &len);
        uint64_t before = now;
        if (talk_is(t, "write")) {
            hal_console_write(p, len);
            printf("%llu\n", (unsigned long long)(now - before));
        } else {
            printf("%zu\n", hal_console_input(p, len));
        }
        free(p);
    } else if (talk_is(t, "read")) {
        len = talk_number(t, 1);
        char *p = malloc(len > 0 ? len : 1);
        talk_print_bytes(p, hal_console_read(p, len));
        free(p);
    } else if (talk_is(t, "sent")) {
        talk_print_bytes(sent, sent_len);
        sent_len = 0;
    } else if (talk_is(t, "flush")) {
        uint64_t before = now;
        hal_console_flush(talk_number(t, 1));
        printf("%llu\n", (unsigned long long)(now - before));
    }
}

static void command(const talk_t *t) {
    if (talk_is(t, "attach")) {
        hal_console_attach(&fake_sink);
    } else if (talk_is(t, "room")) {
        room = strtoll(t->word[1], NULL, 0);
    } else if (talk_is(t, "per_event")) {
        per_event = (int)talk_number(t, 1);
    } else if (talk_is(t, "busy")) {
        busy = (int)talk_number(t, 1);
    } else if (talk_is(t, "idle")) {
        idle = talk_number(t, 1) != 0;
    } else if (talk_is(t, "uart_in")) {
        uart_in = talk_number(t, 1);
    } else if (talk_is(t, "interrupt")) {
        hal_console_interrupt_char = (int)strtol(t->word[1], NULL, 0);
        hal_console_on_interrupt = on_interrupt;
    } else if (talk_is(t, "deny")) {
        deny = talk_number(t, 1) != 0;
    } else if (talk_is(t, "grow")) {
        hal_console_input_buffer(grown, sizeof(grown));
    } else if (talk_is(t, "peek")) {
        const char *p;
        size_t len = hal_console_peek(&p);
        talk_print_bytes(p, len);
    } else if (talk_is(t, "run")) { // the event source's own turn
        bool worked = added->run(added->arg);
        bool polled = added->deadline(added->arg) != UINT64_MAX;
        printf("%d %d\n", worked, polled);
    } else if (talk_is(t, "state")) { // dropped, by the 16550, interrupts, input readable, room for input
        printf("%llu %zu %d %d %zu\n", (unsigned long long)dropped, uart_len, interrupts, hal_console_readable(),
               hal_console_input_room());
    } else {
        io(t);
    }
}

int main(void) { return talk(command); }
