// SPDX-License-Identifier: MIT
// modules/handoff over a socket and pipes that are scripts: what is done with them is printed. Descriptors: 100 and
// 101 are the ends of the pipe to the peer, 102 and 103 those of the pipe from it. Commands: prepare; finish PID; run;
// room N; over; window N (-1: nobody reads); pipe HEX; pipe_end; peer HEX; peer_end; peer_done (both have ended);
// peer_gone; takes N; copied; recv N; readable N; send HEX; poll; shutdown; close; peername; notify.

#include "../port/talk.h"

#include "modules/handoff/handoff.c"
#include "modules/handoff/handoffback.c"
#include "modules/handoff/handoffrelay.c"

enum { MANY = 1 << 17, OUT_READING = 100, OUT_WRITING, IN_READING, IN_WRITING };

static hal_event_source_t *source;
static sock_t sock;
static handoff_t way;
static uint32_t pipe_frames;
static uint8_t lies[MANY], received[MANY];
static size_t lies_at, lies_len, received_at, received_len, takes = MANY;
static bool lies_end, room = true, over;
static int peer_state; // 0: there, 1: sends no more, 2: nor do we, else -errno
static ssize_t window = 65536;
static int opened;

// ---- the HAL and the family -------------------------------------------------------------------------

void hal_event_add(hal_event_source_t *s) { source = s; }
void hal_panic(const char *fmt, ...) {
    printf("PANIC %s\n", fmt);
    fflush(stdout);
    _Exit(120);
}

int32_t family_pid(void) { return 5; }
int family_link_state(void) { return over ? -EIO : 0; }
bool family_link_has_room(uint32_t len) { return room && !over && len > HANDOFF_CHUNK; }
uint32_t family_pipe_frames(void) { return pipe_frames; }
bool family_pipe_abandoned(void) { return false; }
bool family_pipe_sweep_one(void) { return false; }

int family_pipe_open(uint32_t pid, int fds[2]) {
    printf("PIPE %u\n", (unsigned)pid);
    fds[0] = OUT_READING + 2 * opened++;
    fds[1] = fds[0] + 1;
    return opened > 2 ? -EMFILE : 0;
}

int family_pipe_close(int fd) {
    printf("CLOSE %d\n", fd);
    return 0;
}

void family_pipe_keep(int fd) { printf("KEEP %d\n", fd); }
void family_pipe_abandon(int fd) { printf("ABANDON %d\n", fd); }

ssize_t family_pipe_peek(int fd, const uint8_t **data, size_t ahead) {
    hal_assert((fd == OUT_READING || fd == IN_READING) && ahead == FAMILY_PAYLOAD_MAX);
    *data = lies + lies_at;
    return lies_at < lies_len ? (ssize_t)(lies_len - lies_at) : over ? -EIO : lies_end ? 0 : -EAGAIN;
}

void family_pipe_skip(int fd, size_t n) {
    hal_assert(fd == OUT_READING || fd == IN_READING);
    lies_at += n;
}

ssize_t family_pipe_room(int fd) {
    hal_assert(fd == OUT_WRITING || fd == IN_WRITING);
    return window < 0 ? -EPIPE : window;
}

ssize_t family_pipe_write(int fd, const void *data, size_t len) {
    hal_assert(fd == OUT_WRITING || fd == IN_WRITING);
    if (window < 0 || over) {
        return window < 0 ? -EPIPE : -EIO;
    }
    size_t n = len < (size_t)window ? len : (size_t)window;
    window -= (ssize_t)n;
    printf("WRITE %d %zu ", fd, n);
    talk_print_bytes(data, n < 8 ? n : 8);
    return (ssize_t)n;
}

// ---- the socket -------------------------------------------------------------------------------------

void sock_peer(const sock_t *s, sock_addr_t *out) {
    (void)s;
    memset(out, 0, sizeof *out);
    out->port = 4711;
}

void sock_stand_on(sock_t *s, sock_backing_t *b) { s->backing = b; }
void sock_close(sock_t *s) { printf("GONE %d\n", s == &sock); }
unsigned sock_poll(const sock_t *s) {
    hal_assert(s == &sock);
    return peer_state < 0 ? SOCK_POLL_ERR | SOCK_POLL_HUP : peer_state == 2 ? SOCK_POLL_HUP : 0;
}

int sock_shutdown_write(sock_t *s) {
    printf("SHUTDOWN %d\n", s == &sock);
    return 0;
}

ssize_t sock_send(sock_t *s, const void *data, size_t len, const sock_addr_t *to) {
    hal_assert(s == &sock && to == NULL);
    if (peer_state < 0) {
        return peer_state;
    }
    size_t n = len < takes ? len : takes;
    takes -= n;
    if (n > 0) {
        printf("SEND %zu ", n);
        talk_print_bytes(data, n < 8 ? n : 8);
    }
    return n > 0 ? (ssize_t)n : -EAGAIN;
}

ssize_t sock_recv(sock_t *s, void *out, size_t size, sock_addr_t *from) {
    hal_assert(s == &sock && from == NULL);
    size_t n = received_len - received_at < size ? received_len - received_at : size;
    memcpy(out, received + received_at, n);
    received_at += n;
    return n > 0 ? (ssize_t)n : peer_state == 0 ? -EAGAIN : peer_state > 0 ? 0 : peer_state;
}

// ---- commands ---------------------------------------------------------------------------------------

static void fill(const talk_t *t, uint8_t *at, size_t *len) {
    size_t n;
    uint8_t *data = talk_bytes(t, 1, &n);
    memcpy(at + *len, data, n);
    *len += n;
    free(data);
}

static void notice(void) {
    if (sock.notify != NULL) {
        sock.notify(sock.notify_arg);
    }
}

static void on_notify(void *arg) { printf("NOTIFY %d\n", arg == &sock); }

static void backed(const talk_t *t) {
    sock_backing_t *b = sock.backing;
    uint8_t out[256];
    size_t n;
    if (talk_is(t, "recv")) {
        ssize_t r = b->ops->recv(b, out, talk_number(t, 1));
        printf("%zd ", r);
        talk_print_bytes(out, r > 0 ? (size_t)r : 0);
    } else if (talk_is(t, "readable")) {
        printf("%zd\n", b->ops->readable(b, talk_number(t, 1)));
    } else if (talk_is(t, "send")) {
        uint8_t *data = talk_bytes(t, 1, &n);
        printf("%zd\n", b->ops->send(b, data, n));
        free(data);
    } else if (talk_is(t, "poll")) {
        printf("%u\n", b->ops->poll(b));
    } else if (talk_is(t, "shutdown")) {
        printf("%d\n", b->ops->shutdown_write(b));
    } else if (talk_is(t, "close")) {
        b->ops->close(b);
    } else if (talk_is(t, "peername")) {
        printf("%u\n", b->peer.port);
    }
}

static void command(const talk_t *t) {
    if (talk_is(t, "prepare")) {
        printf("%d\n", handoff_prepare(&way, &sock));
    } else if (talk_is(t, "finish")) {
        handoff_finish(&way, atoi(t->word[1]));
    } else if (talk_is(t, "run")) {
        printf("%d\n", source->run(NULL));
    } else if (talk_is(t, "room")) {
        room = talk_number(t, 1) != 0;
    } else if (talk_is(t, "over")) {
        over = true;
        pipe_frames++;
    } else if (talk_is(t, "window")) {
        window = atoi(t->word[1]);
        pipe_frames++;
    } else if (talk_is(t, "pipe")) {
        fill(t, lies, &lies_len);
        pipe_frames++;
    } else if (talk_is(t, "pipe_end")) {
        lies_end = true;
        pipe_frames++;
    } else if (talk_is(t, "peer")) {
        fill(t, received, &received_len);
        notice();
    } else if (talk_is(t, "peer_end") || talk_is(t, "peer_done") || talk_is(t, "peer_gone")) {
        peer_state = talk_is(t, "peer_end") ? 1 : talk_is(t, "peer_done") ? 2 : -ECONNRESET;
        notice();
    } else if (talk_is(t, "takes")) {
        takes = talk_number(t, 1);
    } else if (talk_is(t, "notify")) {
        sock.notify = on_notify;
        sock.notify_arg = &sock;
    } else if (talk_is(t, "copied")) {
        copied(NULL);
    } else {
        backed(t);
    }
}

int main(void) { return talk(command); }
