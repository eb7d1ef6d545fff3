// SPDX-License-Identifier: MIT
// The way of a connection through a fork, and the event source of both sides. Owns the source. Not here: what is done
// with bytes (handoffrelay.c, handoffback.c). Context: main loop.

#include "handoff.h"

#include <errno.h>
#include <stdlib.h>

#include "family.h"
#include "familypipe.h"
#include "hal.h"
#include "handoff_internal.h"

enum { READING, WRITING };

static uint32_t frames_seen;

static bool run(void *arg) {
    (void)arg;
    bool came = frames_seen != family_pipe_frames();
    frames_seen = family_pipe_frames();
    if (came) {
        handoff_back_run();
    }
    bool swept = false;
    while (family_pipe_abandoned() && family_link_has_room(HANDOFF_ROOM) && family_pipe_sweep_one()) {
        swept = true;
    }
    return handoff_relay_run(came) || swept;
}

static void start(void) {
    static hal_event_source_t source = {.run = run};
    static bool started;
    if (!started) {
        started = true;
        hal_event_add(&source);
    }
}

static void close_both(const int fds[2]) {
    family_pipe_close(fds[READING]);
    family_pipe_close(fds[WRITING]);
}

int handoff_prepare(handoff_t *h, sock_t *s) {
    start();
    h->s = s;
    sock_peer(s, &h->peer);
    h->memory = malloc(HANDOFF_MEMORY);
    int r = h->memory == NULL ? -ENOMEM : family_pipe_open((uint32_t)family_pid(), h->out);
    if (r == 0) { // after the other: a VM that ends closes them in this order, by which a lost connection is known
        r = family_pipe_open((uint32_t)family_pid(), h->in);
        if (r < 0) {
            close_both(h->out);
        }
    }
    if (r < 0) {
        free(h->memory);
    }
    return r;
}

void handoff_finish(handoff_t *h, int32_t pid) {
    if (pid < 0) {
        close_both(h->out);
        close_both(h->in);
        free(h->memory);
        return;
    }
    bool copy = pid == 0;
    int in = h->in[copy ? READING : WRITING], out = h->out[copy ? WRITING : READING];
    family_pipe_close(h->out[copy ? READING : WRITING]);
    family_pipe_close(h->in[copy ? WRITING : READING]);
    family_pipe_keep(in);
    family_pipe_keep(out);
    if (copy) {
        handoff_back(h->memory, h->s, &h->peer, in, out);
    } else {
        handoff_relay(h->memory, h->s, in, out);
    }
}

static void copied(const hal_identity_t *id) {
    (void)id;
    handoff_relay_copied();
    handoff_back_copied();
}
HAL_COPIED(HAL_COPIED_ABOVE, copied);
