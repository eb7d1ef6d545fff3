// SPDX-License-Identifier: MIT
// Relays: a connection of this VM's whose bytes are another's. What the peer sends goes into one pipe, while there is
// room, or its window closes; what comes out of the other is sent. The end of a pipe is the end of that direction; of a
// connection that is lost, the reading end of the second pipe goes before the writing end of the first, by which the
// other VM can tell. Owns the relays, and their sockets. Not here: that VM's side (handoffback.c). Context: main loop,
// in the event source: nothing here waits.

#include <errno.h>
#include <stdlib.h>

#include "familypipe.h"
#include "hal.h"
#include "handoff_internal.h"

typedef struct relay {
    struct relay *next;
    sock_t *s;
    int in, out; // -1: closed
    bool lost;
} relay_t;

static relay_t *relays;
static bool due; // something may have changed that no frame tells
static uint8_t chunk[HANDOFF_CHUNK];

static void on_change(void *arg) {
    (void)arg;
    due = true;
}

_Static_assert(sizeof(relay_t) <= HANDOFF_MEMORY, "a relay is made of it");

void handoff_relay(void *memory, sock_t *s, int in, int out) {
    relay_t *r = memory;
    *r = (relay_t){relays, s, in, out, false};
    s->notify = on_change;
    relays = r;
    due = true;
}

// For a step's frames. Once the service has ended nothing is sent, and all is lost at once.
static bool has_room(void) {
    bool room = family_link_state() < 0 || family_link_has_room(HANDOFF_ROOM);
    due |= !room;
    return room;
}

static void close_end(int *fd) {
    family_pipe_close(*fd);
    *fd = -1;
}

// From the other VM to the peer. True: something happened, and it may go on.
static bool carry_out(relay_t *r) {
    const uint8_t *data;
    ssize_t n = family_pipe_peek(r->out, &data, FAMILY_PAYLOAD_MAX);
    if (n == 0) {
        sock_shutdown_write(r->s);
        close_end(&r->out);
        return true;
    }
    if (n > 0) {
        n = sock_send(r->s, data, (size_t)n, NULL);
        due |= n == -EAGAIN; // room in the window is told, and not all memory that comes free
    }
    if (n > 0) {
        family_pipe_skip(r->out, (size_t)n);
        return true;
    }
    r->lost = n != -EAGAIN;
    return false;
}

// From the peer to the other VM.
static bool carry_in(relay_t *r) {
    ssize_t room = family_pipe_room(r->in);
    if (room < 0) { // nobody reads any more
        close_end(&r->in);
        return true;
    }
    size_t most = (size_t)room < sizeof chunk ? (size_t)room : sizeof chunk;
    ssize_t n = most > 0 ? sock_recv(r->s, chunk, most, NULL) : -EAGAIN;
    if (n > 0) {
        r->lost = family_pipe_write(r->in, chunk, (size_t)n) != n;
    } else if (n == 0) {
        close_end(&r->in);
    } else {
        r->lost = n != -EAGAIN;
    }
    return n >= 0 && !r->lost;
}

// Nobody reads here what the peer sends: what else would tell that it is gone?
// A connection that has ended in order hangs up, too.
static bool is_gone(const relay_t *r) { return r->in < 0 && (sock_poll(r->s) & SOCK_POLL_ERR) != 0; }

// True: something happened.
static bool step(relay_t *r) {
    bool any = false;
    while (r->out >= 0 && !r->lost && has_room() && carry_out(r)) {
        any = true;
    }
    while (r->in >= 0 && !r->lost && has_room() && carry_in(r)) {
        any = true;
    }
    r->lost |= r->out >= 0 && is_gone(r);
    if (r->lost && r->out >= 0 && has_room()) {
        close_end(&r->out);
    }
    if (r->lost && r->out < 0 && r->in >= 0 && has_room()) {
        close_end(&r->in);
    }
    return any;
}

bool handoff_relay_run(bool frames_came) {
    if (!due && !frames_came) {
        return false;
    }
    due = false;
    bool any = false;
    for (relay_t **at = &relays; *at != NULL;) {
        relay_t *r = *at;
        any |= step(r);
        if (r->in < 0 && r->out < 0) {
            *at = r->next;
            sock_close(r->s);
            free(r);
            any = true;
        } else {
            at = &r->next;
        }
    }
    return any;
}

void handoff_relay_copied(void) {
    for (relay_t *r = relays; r != NULL; r = r->next) {
        r->in = r->out = -1; // the next run sees to the rest
    }
    due = true;
}
