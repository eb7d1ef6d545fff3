// SPDX-License-Identifier: MIT
// modules/family over a line that is a script: what is sent is printed (SENT), what comes is fed, at once or one piece
// a wait. Commands: open; feed HEX; later HEX; room N (frames that still fit, -1 all); restless N; dead; run; state;
// fork; ended PID; kill PID SIGNAL; pipe PID; read FD SIZE AHEAD; write FD HEX; close FD; ready FD; begin [busy];
// snapshot; jump NS (of the clock, in a wait in which nothing comes); refuse ERRNO; template; abandon FD; sweep;
// take FD SIZE; ask FD GIVE_UP; lies FD; peek FD; skip FD N; space FD; keep FD; has_ended PID; elsewhere (the VM goes
// on in another place).

#include "../port/talk.h"

#include "modules/family/family.c"
#include "modules/family/familydev.c"
#include "modules/family/familylink.c"
#include "modules/family/familypipe.c"
#include "port/hal/suspend.c"

enum { LATER_MAX = 32, FED_MAX = 1 << 17 };

static uint64_t now = 100000000000;
static hal_event_source_t *sources;
static uint8_t fed[FED_MAX];
static size_t fed_at, fed_len;
static char *later[LATER_MAX];
static unsigned later_at, later_count;
static int room = -1;
static long long jump;    // of the clock, in the next empty wait
static unsigned restless; // so many times a device has something still

static void feed(const char *hex) {
    for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
        unsigned byte;
        sscanf(hex, "%2x", &byte);
        fed[fed_len++] = (uint8_t)byte;
    }
}

// ---- the HAL ----------------------------------------------------------------------------------------

uint64_t hal_clock_ns(void) { return now += 1000; }
void hal_clock_resume(uint64_t ns) { printf("RESUME %d\n", ns > 0 && ns <= now); }
void hal_event_add(hal_event_source_t *s) { sources = s; }

void hal_event_wait_one(const hal_event_source_t *s, uint64_t deadline_ns) {
    if (later_at < later_count) {
        feed(later[later_at++]);
        if (strcmp(later[later_at - 1], "-") == 0) {
            now += (uint64_t)jump;
            jump = 0;
        }
    } else {
        now += deadline_ns - now < 1000000000 ? deadline_ns - now : 1000000000;
    }
    s->run(s->arg);
}

void hal_event_wait(uint64_t deadline_ns) { hal_event_wait_one(sources, deadline_ns); }
bool hal_event_still(void) { return restless == 0 || --restless == 0; }
void hal_event_drain(uint64_t timeout_ns) { printf("DRAIN %d\n", timeout_ns > 0); }
void hal_console_flush(uint64_t timeout_ns) { printf("FLUSH %d\n", timeout_ns > 0); }
void hal_console_log(const void *data, size_t len) { printf("%.*s", (int)len, (const char *)data); }
void hal_stop_ask(void) { printf("STOP\n"); }

size_t hal_console_input(const void *data, size_t len) {
    printf("TYPED %02x\n", *(const uint8_t *)data);
    return len;
}

void hal_panic(const char *fmt, ...) {
    printf("PANIC %s\n", fmt);
    fflush(stdout);
    _Exit(120);
}

int hal_copied_read(hal_identity_t *id, const char *text, size_t len) {
    *id = (hal_identity_t){.pid = 7, .ppid = 3};
    return len == 2 && memcmp(text, "ok", 2) == 0 ? 0 : -EPROTO;
}

void hal_copied_became(const hal_identity_t *id) { printf("BECAME %d\n", (int)id->pid); }

// ---- the line ---------------------------------------------------------------------------------------

static bool fake_send(familydev_t *d, const void *head, size_t n, const void *data, size_t len) {
    (void)d;
    if (room == 0) {
        return false;
    }
    room -= room > 0;
    printf("SENT ");
    for (size_t i = 0; i < n + len; i++) {
        printf("%02x", i < n ? ((const uint8_t *)head)[i] : ((const uint8_t *)data)[i - n]);
    }
    printf("\n");
    return true;
}

static size_t fake_receive(familydev_t *d, void *out, size_t size) {
    (void)d;
    size_t n = size < fed_len - fed_at ? size : fed_len - fed_at;
    memcpy(out, fed + fed_at, n);
    fed_at += n;
    return n;
}

static bool fake_run(familydev_t *d) {
    (void)d;
    return false;
}

static uint64_t fake_deadline(const familydev_t *d) {
    (void)d;
    return UINT64_MAX;
}

static bool fake_busy(const familydev_t *d) {
    (void)d;
    return room == 0;
}

static bool fake_room(familydev_t *d, size_t len) {
    (void)d;
    (void)len;
    return room != 0;
}

static const familydev_ops_t fake_ops = {fake_send, fake_receive, fake_run, fake_deadline,
                                         fake_run,  fake_busy,    fake_room};
static familydev_t fake = {&fake_ops, false};

// ---- commands ---------------------------------------------------------------------------------------

static void pipe_command(const talk_t *t) {
    size_t size;
    int fd = (int)talk_number(t, 1);
    if (talk_is(t, "read") || talk_is(t, "take")) {
        size = talk_number(t, 2);
        char *out = malloc(size + 1);
        bool reads = talk_is(t, "read");
        ssize_t n = reads ? family_pipe_read(fd, out, size, talk_number(t, 3)) : family_pipe_take(fd, out, size);
        printf("%zd ", n);
        talk_print_bytes(out, n > 0 ? (size_t)n : 0);
        free(out);
    } else if (talk_is(t, "write")) {
        uint8_t *data = talk_bytes(t, 2, &size);
        printf("%zd\n", family_pipe_write(fd, data, size));
        free(data);
    } else if (talk_is(t, "close")) {
        printf("%d\n", family_pipe_close(fd));
    } else if (talk_is(t, "peek")) {
        const uint8_t *data = NULL;
        ssize_t n = family_pipe_peek(fd, &data, 1 << 20);
        printf("%zd ", n);
        talk_print_bytes(data, n > 0 ? (size_t)n : 0);
    } else if (talk_is(t, "skip")) {
        family_pipe_skip(fd, talk_number(t, 2));
    } else if (talk_is(t, "space")) {
        printf("%zd\n", family_pipe_room(fd));
    } else if (talk_is(t, "keep")) {
        family_pipe_keep(fd);
    } else if (talk_is(t, "abandon")) {
        family_pipe_abandon(fd);
    } else if (talk_is(t, "sweep")) {
        family_pipe_sweep();
    } else if (talk_is(t, "ready")) {
        printf("%d\n", family_pipe_ready(fd));
    } else if (talk_is(t, "ask")) {
        printf("%d\n", family_pipe_ask(fd, talk_number(t, 2) != 0));
    } else if (talk_is(t, "lies")) {
        printf("%zd\n", family_pipe_lies(fd));
    }
}

static bool is_busy;

static bool asked(void) {
    printf("ASKED\n");
    return !is_busy;
}

static void family_command(const talk_t *t) {
    int32_t status = 0;
    int fds[2] = {0, 0};
    if (talk_is(t, "open")) {
        familydev_register(&fake);
        int r = family_open();
        printf("%d %d %d\n", r, (int)family_pid(), (int)family_ppid());
    } else if (talk_is(t, "fork")) {
        int r = family_fork("", 0);
        printf("%d %d %d\n", r, (int)family_pid(), (int)family_ppid());
    } else if (talk_is(t, "begin")) {
        familydev_register(&fake);
        is_busy = t->n > 1;
        printf("%d\n", family_begin(asked, false));
    } else if (talk_is(t, "unserved")) {
        familydev_register(&fake);
        printf("%d\n", family_begin(asked, true));
    } else if (talk_is(t, "snapshot")) {
        int r = family_snapshot();
        printf("%d %d %d\n", r, (int)family_pid(), (int)family_ppid());
    } else if (talk_is(t, "jump")) {
        jump = strtoll(t->word[1], NULL, 10);
    } else if (talk_is(t, "refuse")) {
        printf("%d\n", family_refuse(atoi(t->word[1])));
    } else if (talk_is(t, "template")) {
        printf("%d\n", family_is_template());
    } else if (talk_is(t, "ended")) {
        int r = family_ended(atoi(t->word[1]), &status);
        printf("%d %d\n", r, (int)status);
    } else if (talk_is(t, "has_ended")) {
        printf("%d\n", family_has_ended(atoi(t->word[1])));
    } else if (talk_is(t, "kill")) {
        printf("%d\n", family_kill(atoi(t->word[1]), atoi(t->word[2])));
    } else if (talk_is(t, "pipe")) {
        int r = family_pipe_open((uint32_t)talk_number(t, 1), fds);
        printf("%d %d %d\n", r, fds[0], fds[1]);
    }
}

static void command(const talk_t *t) {
    if (talk_is(t, "feed")) {
        feed(t->word[1]);
        sources->run(NULL);
    } else if (talk_is(t, "elsewhere")) {
        hal_suspend_tell(HAL_SUSPENDING);
        hal_suspend_tell(HAL_RESUMED);
    } else if (talk_is(t, "later")) {
        later[later_count++ % LATER_MAX] = strdup(t->word[1]);
    } else if (talk_is(t, "room")) {
        room = atoi(t->word[1]);
    } else if (talk_is(t, "restless")) {
        restless = (unsigned)atoi(t->word[1]);
    } else if (talk_is(t, "dead")) {
        fake.dead = true;
    } else if (talk_is(t, "run")) {
        printf("%d\n", sources->run(NULL));
    } else if (talk_is(t, "state")) {
        printf("%d\n", family_link_state());
    } else {
        family_command(t);
        pipe_command(t);
    }
}

int main(void) { return talk(command); }
