// SPDX-License-Identifier: MIT
// Pipes (familypipe.h): ends, windows, what was asked for. Owns the list of pipes and what came for them. Not here:
// what lies at the host. Context: main loop.

#include "familypipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hal.h"

enum { PIPES_MAX = 512, WINDOW = 65536, NOBODY = -1 };

typedef struct pipe {
    struct pipe *next; // by slot
    unsigned slot;     // descriptors FAMILY_FD_FIRST + 2 * slot and the one behind it
    uint32_t id;
    bool open[2];  // the reading end, the writing end
    bool waits[2]; // a call on it may wait
    bool abandoned[2];
    bool kept; // from copies of this VM
    // The reading end.
    uint32_t asked;      // bytes of a READ that was not answered; 0: none is out
    bool wants;          // a WANT is out
    bool readable, end;  // as READABLE, and the DATA of an end, told last
    bool asks, gives_up; // a STATE is out, in which this was said
    uint32_t lies;       // as STATE, told last
    uint8_t *data;       // that came and was not read; NULL: nothing
    uint32_t at, len;
    // The writing end.
    uint32_t untaken;
    bool broken;
} pipe_t;

static pipe_t *pipes;
static unsigned pipe_count;
static bool abandoned_any;
static uint16_t last_id;
static uint32_t frames;

static pipe_t *by_id(uint32_t id) {
    pipe_t *p = pipes;
    while (p != NULL && p->id != id) {
        p = p->next;
    }
    return p;
}

// The pipe of which fd is an open end: 0 the reading one, 1 the writing one, -1 either. Who uses an end by its number
// has it, whoever has abandoned it: no sweep frees the pipe while a frame of this waits for room.
static pipe_t *by_fd(int fd, int end) {
    unsigned n = (unsigned)(fd - FAMILY_FD_FIRST);
    pipe_t *p = pipes;
    if (fd < FAMILY_FD_FIRST || (end >= 0 && (int)(n & 1) != end)) {
        return NULL;
    }
    while (p != NULL && p->slot != n / 2) {
        p = p->next;
    }
    if (p == NULL || !p->open[n & 1]) {
        return NULL;
    }
    p->abandoned[n & 1] = false;
    return p;
}

static uint32_t new_id(uint32_t pid) {
    uint32_t id;
    do {
        id = pid << 16 | ++last_id;
    } while (by_id(id) != NULL); // there are fewer pipes than numbers
    return id;
}

int family_pipe_open(uint32_t pid, int fds[2]) {
    if (pipe_count == PIPES_MAX) {
        return -EMFILE;
    }
    pipe_t *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return -ENOMEM;
    }
    p->id = new_id(pid);
    int r = family_link_send(FAMILY_PIPE, p->id, NULL, 0);
    if (r < 0) {
        free(p);
        return r;
    }
    p->open[0] = p->open[1] = p->waits[0] = p->waits[1] = true;
    pipe_t **place = &pipes;
    while (*place != NULL && (*place)->slot == p->slot) { // the lowest number that is free
        place = &(*place)->next;
        p->slot++;
    }
    p->next = *place;
    *place = p;
    pipe_count++;
    fds[0] = FAMILY_FD_FIRST + 2 * (int)p->slot;
    fds[1] = fds[0] + 1;
    return 0;
}

static void drop_data(pipe_t *p) {
    free(p->data);
    p->data = NULL;
    p->at = p->len = 0;
}

int family_pipe_close(int fd) {
    pipe_t *p = by_fd(fd, -1);
    if (p == NULL) {
        return -EBADF;
    }
    uint8_t end = (uint8_t)((fd - FAMILY_FD_FIRST) & 1);
    int r = family_link_send(FAMILY_CLOSE, p->id, &end, 1);
    p->open[end] = false;
    if (end == 0) {
        drop_data(p);
    }
    if (!p->open[0] && !p->open[1]) {
        pipe_t **place = &pipes;
        while (*place != p) {
            place = &(*place)->next;
        }
        *place = p->next;
        free(p);
        pipe_count--;
    }
    return r;
}

void family_pipe_keep(int fd) {
    pipe_t *p = by_fd(fd, -1);
    if (p != NULL) {
        p->kept = true;
    }
}

void family_pipe_abandon(int fd) {
    pipe_t *p = by_fd(fd, -1);
    if (p != NULL) {
        p->abandoned[(fd - FAMILY_FD_FIRST) & 1] = abandoned_any = true;
    }
}

// An open end that was abandoned, which counts as such no longer; -1: there is none.
static int next_abandoned(void) {
    for (pipe_t *p = pipes; p != NULL; p = p->next) {
        for (int end = 0; end < 2; end++) {
            if (p->open[end] && p->abandoned[end]) {
                p->abandoned[end] = false;
                return FAMILY_FD_FIRST + 2 * (int)p->slot + end;
            }
        }
    }
    return -1;
}

bool family_pipe_abandoned(void) { return abandoned_any; }

bool family_pipe_sweep_one(void) {
    int fd = abandoned_any ? next_abandoned() : -1; // from the first again: pipes may go while one is closed
    abandoned_any = fd >= 0;
    if (fd >= 0) {
        family_pipe_close(fd);
    }
    return fd >= 0;
}

bool family_pipe_sweep(void) {
    bool any = false;
    while (family_pipe_sweep_one()) {
        any = true;
    }
    return any;
}

static int ask(pipe_t *p, uint32_t size) {
    int r = family_link_send(FAMILY_READ, p->id, &size, sizeof size);
    p->asked = r < 0 ? 0 : size;
    p->gives_up = false; // a STATE that is out was sent before this one
    return r < 0 ? r : -EAGAIN;
}

void family_pipe_skip(int fd, size_t n) {
    pipe_t *p = by_fd(fd, 0);
    hal_assert(p != NULL && n <= p->len - p->at);
    p->at += (uint32_t)n;
    if (p->at == p->len) {
        drop_data(p);
    }
}

ssize_t family_pipe_take(int fd, void *out, size_t size) {
    pipe_t *p = by_fd(fd, 0);
    if (p == NULL) {
        return -EBADF;
    }
    if (size == 0) {
        return 0;
    }
    if (p->data != NULL) {
        size_t n = size < p->len - p->at ? size : p->len - p->at;
        memcpy(out, p->data + p->at, n);
        family_pipe_skip(fd, n);
        return (ssize_t)n;
    }
    if (p->end) { // told once a READ: a writer may be there again, as nobody else knows
        p->end = false;
        return 0;
    }
    return -EAGAIN;
}

ssize_t family_pipe_peek(int fd, const uint8_t **data, size_t ahead) {
    pipe_t *p = by_fd(fd, 0);
    if (p == NULL) {
        return -EBADF;
    }
    if (p->data != NULL) {
        *data = p->data + p->at;
        return p->len - p->at;
    }
    int r = family_link_state();
    if (r < 0 || p->end) {
        return r;
    }
    return p->asked > 0 ? -EAGAIN : ask(p, ahead < FAMILY_PAYLOAD_MAX ? (uint32_t)ahead : FAMILY_PAYLOAD_MAX);
}

ssize_t family_pipe_read(int fd, void *out, size_t size, size_t ahead) {
    ssize_t r = family_pipe_take(fd, out, size);
    if (r != -EAGAIN) {
        return r;
    }
    pipe_t *p = by_fd(fd, 0);
    size = ahead > size ? ahead : size;
    return p->asked > 0 ? -EAGAIN : ask(p, size < FAMILY_PAYLOAD_MAX ? (uint32_t)size : FAMILY_PAYLOAD_MAX);
}

int family_pipe_ask(int fd, bool give_up) {
    pipe_t *p = by_fd(fd, 0);
    if (p == NULL) {
        return -EBADF;
    }
    uint8_t what = give_up && p->asked > 0;
    if (p->asks) {
        return -EAGAIN; // two answers could not be told apart
    }
    int r = family_link_send(FAMILY_STATE, p->id, &what, 1);
    p->asks = r == 0;
    p->gives_up = what != 0;
    return r;
}

ssize_t family_pipe_lies(int fd) {
    pipe_t *p = by_fd(fd, 0);
    if (p == NULL) {
        return -EBADF;
    }
    int r = family_link_state();
    if (r < 0 || p->asks) {
        return r < 0 ? r : -EAGAIN;
    }
    if (p->data != NULL) {
        return p->len - p->at;
    }
    return p->end || p->lies == (uint32_t)NOBODY ? -EPIPE : (ssize_t)p->lies;
}

ssize_t family_pipe_write(int fd, const void *data, size_t len) {
    pipe_t *p = by_fd(fd, 1);
    if (p == NULL) {
        return -EBADF;
    }
    if (p->broken) {
        return -EPIPE;
    }
    uint32_t room = WINDOW - p->untaken, n = len < FAMILY_PAYLOAD_MAX ? (uint32_t)len : FAMILY_PAYLOAD_MAX;
    if (n > room && len > FAMILY_ATOMIC) {
        n = room;
    }
    if (len == 0) {
        return 0;
    }
    int r = n == 0 || n > room ? -EAGAIN : family_link_send(FAMILY_WRITE, p->id, data, n);
    if (r == 0) {
        p->untaken += n;
    }
    return r < 0 ? r : (ssize_t)n;
}

ssize_t family_pipe_room(int fd) {
    pipe_t *p = by_fd(fd, 1);
    if (p == NULL) {
        return -EBADF;
    }
    return p->broken ? -EPIPE : (ssize_t)(WINDOW - p->untaken);
}

static int read_ready(pipe_t *p) {
    if (p->data != NULL || p->end) {
        return FAMILY_IN | (p->data == NULL ? FAMILY_HUP : 0);
    }
    if (p->asked > 0) {
        return 0; // its answer is an event
    }
    if (p->readable) {
        return FAMILY_IN;
    }
    uint8_t on = 1;
    int r = p->wants ? 0 : family_link_send(FAMILY_WANT, p->id, &on, 1);
    p->wants = r == 0;
    return r;
}

int family_pipe_ready(int fd) {
    pipe_t *p = by_fd(fd, -1);
    if (p == NULL) {
        return -EBADF;
    }
    int r = family_link_state();
    if (r < 0) {
        return r;
    }
    if (((fd - FAMILY_FD_FIRST) & 1) == 0) {
        return read_ready(p);
    }
    return p->broken ? FAMILY_OUT | FAMILY_HUP : WINDOW - p->untaken >= FAMILY_ATOMIC ? FAMILY_OUT : 0;
}

int family_pipe_blocks(int fd) {
    pipe_t *p = by_fd(fd, -1);
    return p == NULL ? -EBADF : p->waits[(fd - FAMILY_FD_FIRST) & 1];
}

int family_pipe_set_blocks(int fd, bool blocks) {
    pipe_t *p = by_fd(fd, -1);
    if (p == NULL) {
        return -EBADF;
    }
    p->waits[(fd - FAMILY_FD_FIRST) & 1] = blocks;
    return 0;
}

static bool take_data(pipe_t *p, const family_frame_t *f) {
    if (f->len > p->asked || p->data != NULL) {
        return false;
    }
    p->asked = 0;
    p->readable = false;
    if (!p->open[0]) {
        return true;
    }
    p->end = f->len == 0;
    if (f->len > 0) {
        if ((p->data = malloc(f->len)) == NULL) {
            return family_link_fail("no memory for what a pipe brought") == 0;
        }
        memcpy(p->data, f->payload, f->len);
        p->len = f->len;
        p->at = 0;
    }
    return true;
}

static bool take_room(pipe_t *p, const family_frame_t *f) {
    if (f->len != 4) {
        return false;
    }
    uint32_t n = family_u32(f, 0);
    if (n == (uint32_t)NOBODY) {
        p->broken = true;
        return true;
    }
    if (n > p->untaken) {
        return false;
    }
    p->untaken -= n;
    return true;
}

static bool take_state(pipe_t *p, const family_frame_t *f) {
    if (f->len != 4 || !p->asks) {
        return false;
    }
    p->asks = false;
    p->asked = p->gives_up ? 0 : p->asked;
    p->lies = family_u32(f, 0);
    p->readable = p->lies > 0;
    return true;
}

static void close_all(pipe_t *p) {
    int fd = FAMILY_FD_FIRST + 2 * (int)p->slot;
    bool reading = p->open[0], writing = p->open[1]; // the pipe is there as long as one end is
    if (reading) {
        family_pipe_close(fd);
    }
    if (writing) {
        family_pipe_close(fd + 1);
    }
}

uint32_t family_pipe_frames(void) { return frames; }

bool family_pipe_frame(const family_frame_t *f) {
    frames++;
    pipe_t *p = by_id(f->channel);
    if (p == NULL) {
        return true; // closed here before the host could know
    }
    switch (f->type) {
        case FAMILY_DATA:
            return take_data(p, f);
        case FAMILY_TAKEN:
            return take_room(p, f);
        case FAMILY_STATE:
            return take_state(p, f);
        default: // READABLE
            p->readable = p->open[0];
            p->wants = false;
            return f->len == 0;
    }
}

void family_pipe_copied(bool keeps) {
    uint8_t on = 1;
    last_id = 0; // its numbers begin with its own pid
    for (pipe_t *p = pipes, *next; p != NULL; p = next) {
        next = p->next;
        if (p->kept) {
            close_all(p);
            continue;
        }
        p->untaken = 0;
        if (!keeps) {
            drop_data(p);
            p->readable = p->end = false;
        }
        if (p->asks && p->gives_up) {
            p->asked = 0;
        }
        p->asks = false;
        if (p->open[0] && p->asked > 0) {
            ask(p, p->asked);
        }
        if (p->open[0] && p->wants) {
            family_link_send(FAMILY_WANT, p->id, &on, 1);
        }
    }
}
