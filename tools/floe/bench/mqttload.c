// SPDX-License-Identifier: MIT
// MQTT 3.1.1: one client publishes, others get each message. At a constant rate, each message timed from the moment at
// which it was due; or without a rate, as fast as it goes with at most WINDOW messages that not all have. One thread,
// ppoll. Prints one JSON object.
//
//   mqttload [-r RATE] [-w WINDOW] [-s SUBSCRIBERS] [-q 0|1] [-d SECONDS] [-t TIMEOUT_S] [-b BYTES] ADDRESS:PORT
//
// What a subscriber has not got TIMEOUT_S after the end is lost, and so is what it was passed over with. Without a rate
// the end is also when nothing has come to anybody for so long. A broker that hangs up on somebody ends it with 1.
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { ROOM = 1 << 18, MOST_SUBSCRIBERS = 256, MOST_BYTES = 60000, STAMP = 16, HEAD = 64, JOIN_S = 10 };
enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40, SUBSCRIBE = 0x82, SUBACK = 0x90 };
#define TOPIC "floe/bench"

typedef struct {
    int fd;
    uint8_t in[ROOM], out[ROOM];
    size_t have, waiting; // bytes in each
    uint64_t next;        // the message that a subscriber waits for
} client_t;

static struct {
    double rate, seconds, timeout_s;
    int window, subscribers, qos, bytes;
    struct sockaddr_in broker;
} want = {.seconds = 3, .timeout_s = 5, .window = 1, .subscribers = 1, .bytes = 64};

static client_t *all; // the publisher, then subscribers
static uint64_t started, published, delivered, repeated, acknowledged;
static uint64_t last_ns, free_ns, late_ns; // free_ns: since when the publisher can send

static const char *why(void) { return errno == EAGAIN || errno == EINPROGRESS ? "no answer in time" : strerror(errno); }

static void die(const char *what, int who) {
    fprintf(stderr, "mqttload: %s %d: %s\n", who ? "subscriber" : "publisher", who, what);
    exit(1);
}

static void put(client_t *c, const void *data, size_t length) {
    if (length > ROOM - c->waiting) {
        die("the broker takes nothing", (int)(c - all));
    }
    memcpy(c->out + c->waiting, data, length);
    c->waiting += length;
}

static void flush(client_t *c) {
    ssize_t n = c->waiting ? send(c->fd, c->out, c->waiting, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN) {
        die(strerror(errno), (int)(c - all));
    }
    if (n > 0) {
        c->waiting -= n;
        memmove(c->out, c->out + n, c->waiting);
    }
}

// A head of one byte, and the length of what follows; how many bytes it took.
static size_t head(uint8_t *to, uint8_t kind, size_t length) {
    size_t n = 0;
    to[n++] = kind;
    do {
        to[n++] = (length & 127) | (length > 127 ? 128 : 0);
        length >>= 7;
    } while (length > 0);
    return n;
}

static size_t text(uint8_t *to, const char *what) {
    size_t length = strlen(what);
    to[0] = length >> 8;
    to[1] = length;
    memcpy(to + 2, what, length);
    return length + 2;
}

static void send_packet(client_t *c, uint8_t kind, const uint8_t *body, size_t length) {
    uint8_t begin[8];
    put(c, begin, head(begin, kind, length));
    put(c, body, length);
}

static void publish(uint64_t due) {
    static uint8_t body[HEAD + MOST_BYTES];
    size_t n = text(body, TOPIC);
    if (want.qos) {
        uint16_t id = published % 65535 + 1;
        body[n++] = id >> 8;
        body[n++] = id;
    }
    memcpy(body + n, &published, 8);
    memcpy(body + n + 8, &due, 8);
    send_packet(&all[0], PUBLISH | want.qos << 1, body, n + want.bytes);
    published++;
}

static void take_message(client_t *c, uint8_t flags, const uint8_t *body, size_t length, uint64_t now) {
    size_t topic = strlen(TOPIC) + 2, id = (flags & 6) ? 2 : 0;
    if (length != topic + id + want.bytes || (flags & 6) != want.qos << 1) {
        die("a message is not as it was sent", (int)(c - all));
    }
    uint64_t number, due;
    memcpy(&number, body + topic + id, 8);
    memcpy(&due, body + topic + id + 8, 8);
    if (number >= published) {
        die("a message that nobody sent", (int)(c - all));
    }
    if (id) {
        send_packet(c, PUBACK, body + topic, 2);
    }
    if (number < c->next) { // QoS 1 may
        repeated++;
        return;
    }
    c->next = number + 1;
    delivered++;
    note_time(now - due);
    last_ns = now;
}

// One packet of what has come, if it is whole; its length, else 0.
static size_t take_packet(client_t *c, const uint8_t *at, size_t have, uint64_t now) {
    size_t length = 0, n = 1;
    for (int shift = 0;; shift += 7) {
        if (n >= have) {
            return 0;
        }
        if (shift > 21) {
            die("a length is not MQTT's", (int)(c - all));
        }
        length |= (size_t)(at[n] & 127) << shift;
        if (at[n++] < 128) {
            break;
        }
    }
    if (n + length > ROOM) {
        die("a packet is too long", (int)(c - all));
    }
    if (n + length > have) {
        return 0;
    }
    if ((at[0] & 0xf0) == PUBLISH && c != all) {
        take_message(c, at[0], at + n, length, now);
    } else if (at[0] == PUBACK && c == all) {
        acknowledged++;
    } else {
        die("the broker says what it should not", (int)(c - all));
    }
    return n + length;
}

static void pull(client_t *c) {
    ssize_t n = recv(c->fd, c->in + c->have, ROOM - c->have, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        die(n ? strerror(errno) : "the broker has hung up", (int)(c - all));
    }
    c->have += n;
    uint64_t now = now_ns();
    size_t done = 0;
    for (size_t took; (took = take_packet(c, c->in + done, c->have - done, now)) > 0;) {
        done += took;
    }
    c->have -= done;
    memmove(c->in, c->in + done, c->have);
}

// Said, and what the answer has to begin with; before the load begins, so it may block.
static void ask(client_t *c, const uint8_t *said, size_t length, const uint8_t *expected, size_t size) {
    uint8_t got[8];
    if (send(c->fd, said, length, MSG_NOSIGNAL) != (ssize_t)length) {
        die(why(), (int)(c - all));
    }
    for (size_t have = 0; have < size;) {
        ssize_t n = recv(c->fd, got + have, size - have, 0);
        if (n <= 0) {
            die(n ? why() : "the broker has hung up", (int)(c - all));
        }
        have += n;
    }
    if (memcmp(got, expected, size) != 0) {
        die("refused by the broker", (int)(c - all));
    }
}

static void join(client_t *c) {
    int who = c - all, on = 1;
    struct timeval limit = {JOIN_S, 0}; // -t is for messages
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&want.broker, sizeof want.broker) != 0) {
        die(why(), who);
    }
    char name[32];
    uint8_t body[HEAD], packet[HEAD + 8];
    size_t n = text(body, "MQTT");
    body[n++] = 4; // 3.1.1
    body[n++] = 2; // a clean session
    body[n++] = 0; // and no keep alive
    body[n++] = 0;
    snprintf(name, sizeof name, "floe-%d-%d", getpid(), who);
    n += text(body + n, name);
    size_t begin = head(packet, CONNECT, n);
    memcpy(packet + begin, body, n);
    ask(c, packet, begin + n, (const uint8_t[]){CONNACK, 2, 0, 0}, 4);
    if (who) {
        n = 0;
        body[n++] = 0;
        body[n++] = 1;
        n += text(body + n, TOPIC);
        body[n++] = want.qos;
        begin = head(packet, SUBSCRIBE, n);
        memcpy(packet + begin, body, n);
        ask(c, packet, begin + n, (const uint8_t[]){SUBACK, 3, 0, 1, want.qos}, 5);
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static uint64_t due_ns(uint64_t number) { return started + (uint64_t)(number * 1e9 / want.rate); }

static uint64_t least(void) {
    uint64_t least = UINT64_MAX;
    for (int i = 1; i <= want.subscribers; i++) {
        least = all[i].next < least ? all[i].next : least;
    }
    return least;
}

// Whether the next message may go now.
static bool may_go(uint64_t now, uint64_t most) {
    if (all[0].waiting > ROOM / 2 || published >= most) {
        return false;
    }
    return want.rate > 0 ? due_ns(published) <= now : published - least() < (uint64_t)want.window;
}

static void hand_out(uint64_t now, uint64_t most) {
    while (may_go(now, most)) {
        uint64_t due = want.rate > 0 ? due_ns(published) : now;
        uint64_t could = due > free_ns ? due : free_ns;
        if (want.rate > 0 && now > could && now - could > late_ns) { // it was this program that came late
            late_ns = now - could;
        }
        publish(due);
    }
}

static void run(void) {
    uint64_t length = (uint64_t)(want.seconds * 1e9), timeout = (uint64_t)(want.timeout_s * 1e9);
    uint64_t most = want.rate > 0 ? (uint64_t)(want.rate * want.seconds) : UINT64_MAX;
    struct pollfd *polled = calloc(want.subscribers + 1, sizeof *polled);
    if (polled == NULL) {
        refuse("no memory");
    }
    prctl(PR_SET_TIMERSLACK, 1);
    started = last_ns = now_ns();
    for (;;) {
        uint64_t now = now_ns();
        if (now - started >= length && want.rate <= 0) {
            most = published;
        }
        hand_out(now, most);
        bool all_have = published >= most && least() >= most && (!want.qos || acknowledged >= most);
        bool stands = want.rate <= 0 && now - last_ns > timeout;
        if (all_have || stands || now - started > length + timeout) {
            break;
        }
        for (int i = 0; i <= want.subscribers; i++) {
            flush(&all[i]);
            polled[i] = (struct pollfd){all[i].fd, POLLIN | (all[i].waiting ? POLLOUT : 0), 0};
        }
        uint64_t wait = 50000000;
        if (want.rate > 0 && published < most && all[0].waiting <= ROOM / 2) {
            now = now_ns();
            wait = due_ns(published) <= now ? 0 : due_ns(published) - now < wait ? due_ns(published) - now : wait;
        }
        bool full = all[0].waiting > ROOM / 2;
        ppoll(polled, want.subscribers + 1, &(struct timespec){0, (long)wait}, NULL);
        for (int i = 0; i <= want.subscribers; i++) {
            if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) {
                pull(&all[i]);
            }
            if (polled[i].revents & POLLOUT) {
                flush(&all[i]);
            }
        }
        if (full && all[0].waiting <= ROOM / 2) {
            free_ns = now_ns();
        }
    }
    free(polled);
}

static void report(void) {
    sort_times();
    double took = (last_ns - started) / 1e9;
    uint64_t due = want.rate > 0 ? (uint64_t)(want.rate * want.seconds) : published;
    printf("{\"due\": %llu, \"published\": %llu, \"expected\": %llu, \"delivered\": %llu, \"repeated\": %llu, "
           "\"acknowledged\": %llu, \"per_s\": %.1f, ",
           (unsigned long long)due, (unsigned long long)published, (unsigned long long)due * want.subscribers,
           (unsigned long long)delivered, (unsigned long long)repeated, (unsigned long long)acknowledged,
           took > 0 ? delivered / (took > want.seconds ? took : want.seconds) : 0);
    printf("\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"load_late_ms\": %.3f}\n", at_ms(0.5), at_ms(0.99),
           at_ms(1), late_ns / 1e6);
}

int main(int argc, char **argv) {
    for (int option; (option = getopt(argc, argv, "r:w:s:q:d:t:b:")) != -1;) {
        switch (option) {
            case 'r':
                want.rate = atof(optarg);
                break;
            case 'w':
                want.window = atoi(optarg);
                break;
            case 's':
                want.subscribers = atoi(optarg);
                break;
            case 'q':
                want.qos = atoi(optarg);
                break;
            case 'd':
                want.seconds = atof(optarg);
                break;
            case 't':
                want.timeout_s = atof(optarg);
                break;
            case 'b':
                want.bytes = atoi(optarg);
                break;
            default:
                return 2;
        }
    }
    if (optind != argc - 1 || want.seconds <= 0 || want.timeout_s <= 0 || want.window < 1 || want.rate < 0) {
        refuse("give one ADDRESS:PORT, a window, and more than no time");
    }
    if (want.subscribers < 1 || want.subscribers > MOST_SUBSCRIBERS || want.qos < 0 || want.qos > 1 ||
        want.bytes < STAMP || want.bytes > MOST_BYTES) {
        refuse("1 to 256 subscribers, QoS 0 or 1, 16 to 60000 bytes");
    }
    want.broker = read_endpoint(argv[optind]);
    signal(SIGPIPE, SIG_IGN);
    all = calloc(want.subscribers + 1, sizeof *all);
    if (all == NULL) {
        refuse("no memory");
    }
    for (int i = want.subscribers; i >= 0; i--) {
        join(&all[i]);
    }
    run();
    report();
    return 0;
}
