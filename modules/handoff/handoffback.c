// SPDX-License-Identifier: MIT
// What a socket stands on whose connection is another VM's: two pipes of the family. Owns these ends. Not here: the
// other VM's side (handoffrelay.c). Context: main loop.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "familypipe.h"
#include "hal.h"
#include "handoff_internal.h"

typedef struct back {
    sock_backing_t base; // first: the verbs get this
    struct back *next;
    sock_t *s;
    int in, out; // -1: closed
    bool reset;  // the connection was lost
    bool told;   // and that was said
} back_t;

static back_t *backs;

static back_t *self(sock_backing_t *b) { return (back_t *)(void *)b; }

// Whether nobody takes what is written here, which is only so where the connection is gone.
static bool is_lost(back_t *b) {
    b->reset |= b->out >= 0 && family_pipe_room(b->out) == -EPIPE;
    return b->reset;
}

// Of a lost connection: ECONNRESET once, then this.
static int tell(back_t *b, int then) {
    int r = b->told ? then : -ECONNRESET;
    b->told = true;
    return r;
}

static ssize_t back_send(sock_backing_t *base, const void *data, size_t len) {
    back_t *b = self(base);
    if (is_lost(b)) {
        return tell(b, -EPIPE);
    }
    return b->out < 0 ? -EPIPE : family_pipe_write(b->out, data, len);
}

// What has come, without taking it; as family_pipe_peek(), and with errors as a socket has them.
static ssize_t peek(back_t *b, const uint8_t **data) {
    ssize_t n = b->in < 0 ? 0 : family_pipe_peek(b->in, data, FAMILY_PAYLOAD_MAX);
    return n == 0 && is_lost(b) ? tell(b, 0) : n;
}

static ssize_t back_readable(sock_backing_t *base, size_t max) {
    const uint8_t *data;
    ssize_t n = peek(self(base), &data);
    return n > 0 && (size_t)n > max ? (ssize_t)max : n;
}

static ssize_t back_recv(sock_backing_t *base, void *out, size_t size) {
    back_t *b = self(base);
    const uint8_t *data;
    ssize_t n = peek(b, &data);
    if (n > 0) {
        n = (size_t)n > size ? (ssize_t)size : n;
        memcpy(out, data, (size_t)n);
        family_pipe_skip(b->in, (size_t)n);
    }
    return n;
}

static unsigned back_poll(sock_backing_t *base) {
    back_t *b = self(base);
    const uint8_t *data;
    if (is_lost(b)) {
        return SOCK_POLL_IN | SOCK_POLL_OUT | SOCK_POLL_HUP | (b->told ? 0 : SOCK_POLL_ERR);
    }
    bool in = b->in < 0 || family_pipe_peek(b->in, &data, FAMILY_PAYLOAD_MAX) != -EAGAIN;
    bool out = b->out < 0 || family_pipe_room(b->out) >= FAMILY_ATOMIC || family_link_state() < 0;
    return (in ? SOCK_POLL_IN : 0) | (out ? SOCK_POLL_OUT : 0);
}

static int back_shutdown_write(sock_backing_t *base) {
    back_t *b = self(base);
    if (is_lost(b)) {
        return -ENOTCONN;
    }
    if (b->out >= 0) {
        family_pipe_close(b->out);
        b->out = -1;
    }
    return 0;
}

// The first of the pipes that were opened is closed first: what was written, then that nobody reads.
static void back_close(sock_backing_t *base) {
    back_t *b = self(base);
    back_t **at = &backs;
    while (*at != b) {
        at = &(*at)->next;
    }
    *at = b->next;
    family_pipe_abandon(b->out);
    family_pipe_abandon(b->in);
    free(b);
}

_Static_assert(sizeof(back_t) <= HANDOFF_MEMORY, "it is made of it");

void handoff_back(void *memory, sock_t *s, const sock_addr_t *peer, int in, int out) {
    static const sock_backing_ops_t ops = {back_send, back_recv,           back_readable,
                                           back_poll, back_shutdown_write, back_close};
    back_t *b = memory;
    if (s->backing != NULL) {
        back_close(s->backing);
    }
    *b = (back_t){{&ops, *peer}, backs, s, in, out, false, false};
    backs = b;
    sock_stand_on(s, &b->base);
}

void handoff_back_run(void) {
    for (back_t *b = backs; b != NULL; b = b->next) {
        if (b->s->notify != NULL) {
            b->s->notify(b->s->notify_arg);
        }
    }
}

void handoff_back_copied(void) {
    for (back_t *b = backs; b != NULL; b = b->next) {
        b->in = b->out = -1;
        b->reset = true;
        b->told = false;
    }
}
