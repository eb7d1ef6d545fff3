// SPDX-License-Identifier: MIT
// HTTP/1.1 requests at a constant rate, each timed from the moment at which it was due: a server that stands still
// makes all late that were due meanwhile, also those that could not be sent, so none is omitted. Without a rate, as
// fast as they are answered. One thread, epoll; requests that are due go out in turn on whichever connection is free.
// Prints one JSON object.
//
//   httpload [-r RATE] [-c CONNECTIONS] [-d SECONDS] [-t TIMEOUT_S] [-x] [-v] [-p PATH]... ADDRESS:PORT...
//
// -x: a connection for each request. -v: no request is like another. -p: paths in turn. Connections are dealt out to
// the addresses in turn. Answers have a Content-Length, or end with their connection. What has no answer TIMEOUT_S
// after it was sent, or after the end for those that are still due, is an error, and its age until then counts among
// the latencies; of other errors, which may come at once, none does.
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "load.h"

enum { HEAD = 16384, REQUEST = 1024, MOST_CONNECTIONS = 4096, MOST_PATHS = 64, MOST_TARGETS = 64, EVENTS = 256 };
enum { CHECK_NS = 50000000, CONNECT_TRIES_MS = 3000 };

typedef enum { CLOSED, CONNECTING, IDLE, SENDING, HEADERS, BODY } state_t;

typedef struct {
    int fd;
    state_t state;
    int target;
    uint64_t due_ns, begun_ns; // of the request on it
    char request[REQUEST];
    int length, sent;
    char head[HEAD];
    int have;
    uint64_t left; // of the body; UINT64_MAX: until it is closed
    bool used;     // an answer came on it before
    bool last;     // the server closes it behind this answer
    bool ok;       // the status was 200 to 399
} connection_t;

typedef struct {
    double rate, seconds, timeout_s;
    int connections, paths, targets;
    bool close_each, vary;
    const char *path[MOST_PATHS];
    struct sockaddr_in target[MOST_TARGETS];
} wanted_t;

static wanted_t want = {.seconds = 5, .timeout_s = 5, .connections = 1};
static connection_t *all;
static int *idle, idle_first, idles; // those without a request, who waits longest first, in a ring
static int poller;
static uint64_t started, taken, answered, bytes, errors_connect, errors_read, errors_status, errors_timeout, unsent;
static uint64_t late_ns, last_ns, free_ns; // free_ns: since when somebody is without a request

static void die(const char *what) {
    fprintf(stderr, "httpload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(connection_t *c, uint32_t events, int verb) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, verb, c->fd, &e) != 0) {
        die("epoll_ctl");
    }
}

static void hang_up(connection_t *c) {
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->state = CLOSED;
    c->used = false;
    c->have = 0;
}

// Begin to connect; -errno. A server's own ports are not worn out: a reset leaves none in TIME_WAIT.
static int begin_connect(connection_t *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        return -errno;
    }
    int on = 1;
    struct linger reset = {1, 0};
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const struct sockaddr_in *to = &want.target[c->target];
    if (connect(c->fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) {
        int wrong = errno;
        hang_up(c);
        return -wrong;
    }
    c->state = CONNECTING;
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
    return 0;
}

static void rest(connection_t *c) {
    if (idles == 0) {
        free_ns = now_ns();
    }
    idle[(idle_first + idles++) % want.connections] = c - all;
}

// The request on it is over: its time counts from when it was due.
static void finish(connection_t *c, uint64_t *counter, uint64_t now) {
    if (counter == &answered || counter == &errors_timeout) {
        note_time(now - c->due_ns);
    }
    last_ns = now;
    ++*counter;
    if (counter != &answered || c->last || want.close_each) {
        hang_up(c);
    } else {
        c->state = IDLE;
        c->used = true;
        c->have = 0;
    }
    rest(c);
}

static void push(connection_t *c, uint64_t now) {
    while (c->sent < c->length) {
        ssize_t n = send(c->fd, c->request + c->sent, c->length - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            c->state = SENDING;
            watch(c, EPOLLOUT, EPOLL_CTL_MOD);
            return;
        }
        if (n < 0) {
            if (c->used) { // the server has closed what was kept open, as it may: once more on a new one
                hang_up(c);
                c->sent = 0;
                if (begin_connect(c) == 0) {
                    return;
                }
            }
            finish(c, &errors_connect, now);
            return;
        }
        c->sent += n;
    }
    c->state = HEADERS;
    watch(c, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
}

static void write_request(connection_t *c, uint64_t number) {
    const char *path = want.path[number % want.paths];
    char more[400] = "", query[32] = "";
    if (want.vary) {
        snprintf(query, sizeof query, "%cv=%llu", strchr(path, '?') ? '&' : '?', (unsigned long long)number);
        snprintf(more, sizeof more,
                 "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
                 "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\n"
                 "Accept-Encoding: gzip, deflate, br\r\nCookie: session=%016llx; seen=%llu\r\n",
                 (unsigned long long)(number * 0x9e3779b97f4a7c15ull), (unsigned long long)number);
    }
    c->length = snprintf(c->request, REQUEST, "GET %s%s HTTP/1.1\r\nHost: bench\r\n%s%s\r\n", path, query, more,
                         want.close_each ? "Connection: close\r\n" : "");
    if (c->length >= REQUEST) {
        refuse("a path is too long");
    }
    c->sent = 0;
    c->have = 0;
}

static void start_request(connection_t *c, uint64_t due, uint64_t now) {
    c->due_ns = due;
    c->begun_ns = now;
    write_request(c, taken++);
    if (c->state == IDLE) {
        push(c, now);
    } else if (begin_connect(c) != 0) {
        finish(c, &errors_connect, now);
    }
}

static const char *field(const char *head, const char *name) {
    size_t n = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            return line + n + 1 + strspn(line + n + 1, " \t");
        }
    }
    return NULL;
}

// Whether the head is whole; then what follows of it is known.
static bool read_head(connection_t *c) {
    c->head[c->have] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL) {
        return false;
    }
    int status = strncmp(c->head, "HTTP/1.", 7) == 0 && c->have > 12 ? atoi(c->head + 9) : 0;
    end[2] = 0;
    c->ok = status >= 200 && status < 400;
    const char *length = field(c->head, "Content-Length"), *closes = field(c->head, "Connection");
    if (field(c->head, "Transfer-Encoding") != NULL) {
        refuse("the server answers in chunks, which this load does not read");
    }
    c->last = (closes != NULL && strncasecmp(closes, "close", 5) == 0) || strncmp(c->head, "HTTP/1.0", 8) == 0;
    bool empty = status == 204 || status == 304 || status == 0; // 0: it is not HTTP
    c->left = empty ? 0 : length != NULL ? strtoull(length, NULL, 10) : UINT64_MAX;
    c->last |= c->left == UINT64_MAX;
    uint64_t behind = c->head + c->have - (end + 4);
    c->left -= c->left == UINT64_MAX ? 0 : behind < c->left ? behind : c->left;
    c->state = BODY;
    return true;
}

static void pull(connection_t *c, uint64_t now) {
    static char waste[1 << 16];
    for (;;) {
        bool head = c->state == HEADERS;
        if (head && c->have == HEAD - 1) {
            refuse("the head of an answer is too long");
        }
        ssize_t n = recv(c->fd, head ? c->head + c->have : waste, head ? HEAD - 1 - c->have : (int)sizeof waste, 0);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            bool whole = n == 0 && c->state == BODY && c->left == UINT64_MAX;
            if (!whole && c->used && c->state == HEADERS && c->have == 0) { // closed before it saw this request
                hang_up(c);
                c->sent = 0;
                if (begin_connect(c) == 0) {
                    return;
                }
            }
            finish(c, whole ? c->ok ? &answered : &errors_status : &errors_read, now);
            return;
        }
        bytes += n;
        if (head) {
            c->have += n;
            if (!read_head(c)) {
                continue;
            }
        } else if (c->left != UINT64_MAX) {
            c->left -= (uint64_t)n < c->left ? (uint64_t)n : c->left;
        }
        if (c->left == 0) {
            finish(c, c->ok ? &answered : &errors_status, now);
            return;
        }
    }
}

static void on_event(connection_t *c, uint64_t now) {
    if (c->state == CONNECTING) {
        int wrong = 0;
        socklen_t size = sizeof wrong;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &wrong, &size);
        if (wrong != 0) {
            finish(c, &errors_connect, now);
        } else {
            push(c, now);
        }
    } else if (c->state == SENDING) {
        push(c, now);
    } else if (c->state == HEADERS || c->state == BODY) {
        pull(c, now);
    } else { // kept open, and closed by the server, or something is said that nobody asked for
        hang_up(c);
    }
}

// One after the other, each as soon as the one before is there: queues of two are met, too.
static void open_all(void) {
    for (int i = 0; i < want.connections; i++) {
        connection_t *c = &all[i];
        c->fd = -1;
        c->target = i % want.targets;
        rest(c);
        if (want.close_each) {
            continue;
        }
        uint64_t end = now_ns() + CONNECT_TRIES_MS * 1000000ull;
        struct epoll_event e;
        int wrong = ETIMEDOUT;
        socklen_t size = sizeof wrong;
        if (begin_connect(c) == 0) {
            int left_ms;
            while ((left_ms = (int)((int64_t)(end - now_ns()) / 1000000)) > 0) {
                if (epoll_wait(poller, &e, 1, left_ms) == 1 && e.data.ptr == c) {
                    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &wrong, &size);
                    break;
                }
            }
        }
        if (wrong == 0) {
            c->state = IDLE;
            watch(c, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
        } else { // the request that takes it tries again, and counts what comes of it
            hang_up(c);
        }
    }
}

static uint64_t due_ns(uint64_t number) { return started + (uint64_t)(number * 1e9 / want.rate); }

// Give requests that are due to those who are free: in turn, so that a low rate is spread over all, too. Without a
// rate the time ends it as well: where connecting fails at once, somebody is always free.
static void hand_out(uint64_t now, uint64_t most) {
    while (idles > 0 && taken < most && (want.rate > 0 || now - started < want.seconds * 1e9)) {
        uint64_t due = want.rate > 0 ? due_ns(taken) : now;
        if (due > now) {
            return;
        }
        connection_t *c = &all[idle[idle_first]];
        idle_first = (idle_first + 1) % want.connections;
        idles--;
        start_request(c, due, now);
        now = want.rate > 0 ? now : now_ns();
    }
}

static void expire(uint64_t now) {
    for (int i = 0; i < want.connections; i++) {
        connection_t *c = &all[i];
        if (c->state != CLOSED && c->state != IDLE && now - c->begun_ns > want.timeout_s * 1e9) {
            finish(c, &errors_timeout, now);
        }
    }
}

static void run(void) {
    uint64_t length = (uint64_t)(want.seconds * 1e9),
             most = want.rate > 0 ? (uint64_t)(want.rate * want.seconds) : UINT64_MAX;
    int clock = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event tick = {.events = EPOLLIN, .data.ptr = NULL};
    if (clock < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, clock, &tick) != 0) {
        die("timer");
    }
    prctl(PR_SET_TIMERSLACK, 1);
    started = last_ns = now_ns();
    uint64_t now = started, checked = started;
    for (;;) {
        bool over = now - started >= length;
        if (over && want.rate <= 0) {
            most = taken;
        }
        if (idles > 0 && want.rate > 0 && taken < most) {
            uint64_t could = due_ns(taken) > free_ns ? due_ns(taken) : free_ns;
            late_ns =
                now > could && now - could > late_ns ? now - could : late_ns; // it was this program that came late
        }
        hand_out(now, most);
        if ((taken >= most && idles == want.connections) || now - started > length + want.timeout_s * 1e9) {
            break;
        }
        uint64_t next = checked + CHECK_NS;
        if (idles > 0 && want.rate > 0 && taken < most && due_ns(taken) < next) {
            next = due_ns(taken);
        }
        struct itimerspec at = {.it_value = {next / 1000000000, next % 1000000000}};
        timerfd_settime(clock, TFD_TIMER_ABSTIME, &at, NULL);
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poller, events, EVENTS, 1000);
        now = now_ns();
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr != NULL) {
                on_event(events[i].data.ptr, now_ns());
            }
        }
        if (now >= checked + CHECK_NS) {
            checked = now;
            expire(now);
        }
    }
    now = now_ns();
    for (int i = 0; i < want.connections; i++) {
        if (all[i].state != CLOSED && all[i].state != IDLE) {
            finish(&all[i], &errors_timeout, now);
        }
    }
    for (; want.rate > 0 && taken < most; taken++) { // never sent, and as late as this already
        note_time(now - due_ns(taken));
        unsent++;
    }
}

static void report(void) {
    sort_times();
    double took = (last_ns - started) / 1e9;
    uint64_t errors = errors_connect + errors_read + errors_status + errors_timeout + unsent;
    printf("{\"requests\": %llu, \"answered\": %llu, \"errors\": %llu, \"connect\": %llu, \"read\": %llu, \"status\": "
           "%llu, "
           "\"timeout\": %llu, \"unsent\": %llu, \"bytes\": %llu, \"seconds\": %.3f, \"per_s\": %.1f, ",
           (unsigned long long)taken, (unsigned long long)answered, (unsigned long long)errors,
           (unsigned long long)errors_connect, (unsigned long long)errors_read, (unsigned long long)errors_status,
           (unsigned long long)errors_timeout, (unsigned long long)unsent, (unsigned long long)bytes, took,
           took > 0 ? answered / (took > want.seconds ? took : want.seconds) : 0);
    printf("\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f, "
           "\"load_late_ms\": %.3f}\n",
           at_ms(0.5), at_ms(0.9), at_ms(0.99), at_ms(0.999), at_ms(1), late_ns / 1e6);
}

static void add_target(const char *text) {
    if (want.targets == MOST_TARGETS) {
        refuse("give up to 64 of ADDRESS:PORT");
    }
    want.target[want.targets++] = read_endpoint(text);
}

int main(int argc, char **argv) {
    for (int option; (option = getopt(argc, argv, "r:c:d:t:p:xv")) != -1;) {
        switch (option) {
            case 'r':
                want.rate = atof(optarg);
                break;
            case 'c':
                want.connections = atoi(optarg);
                break;
            case 'd':
                want.seconds = atof(optarg);
                break;
            case 't':
                want.timeout_s = atof(optarg);
                break;
            case 'x':
                want.close_each = true;
                break;
            case 'v':
                want.vary = true;
                break;
            case 'p':
                if (want.paths == MOST_PATHS) {
                    refuse("too many paths");
                }
                want.path[want.paths++] = optarg;
                break;
            default:
                return 2;
        }
    }
    if (want.connections < 1 || want.connections > MOST_CONNECTIONS || want.seconds <= 0 || want.timeout_s <= 0) {
        refuse("1 to 4096 connections, and more than no time");
    }
    for (; optind < argc; optind++) {
        add_target(argv[optind]);
    }
    if (want.targets == 0) {
        refuse("no ADDRESS:PORT");
    }
    if (want.paths == 0) {
        want.path[want.paths++] = "/";
    }
    signal(SIGPIPE, SIG_IGN);
    all = calloc(want.connections, sizeof *all);
    idle = calloc(want.connections, sizeof *idle);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (all == NULL || idle == NULL || poller < 0) {
        die("start");
    }
    open_all();
    run();
    report();
    return 0;
}
