// SPDX-License-Identifier: MIT
// A source and a sink of UDP frames for tests/bench/packet.py, both in one process, each with a packet socket in a
// network namespace of its own. Frames are 60 bytes, 64 with the checksum that a wire adds. Not here: the addresses,
// which the namespaces have. Says one line of JSON.
//
//   packetload SPACE DEVICE MAC SPACE DEVICE RATE SECONDS FLOWS fill|count|time
//
// source, the next hop's MAC, sink; frames a second; source ports. fill, count: how many arrive, which costs the sink
// no copy and no wake-up. time: nanoseconds from the source's send() to the kernel's stamp at the sink. But for fill,
// the sink has answered one frame of each flow before, as a router only then calls it established.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 60, IP = 14, UDP = 34, ID = 18, IP_SUM = 24, PORT = 9, FIRST_PORT = 1024 };
enum {
    BATCH = 64,
    SLOT_NS = 200000,
    MOST_LATE = 512,
    WARM_MS = 300,
    DRAIN_MS = 250,
    TIMED_BUFFER = 256 << 20,
    ANSWER_MS = 100
};
static const uint8_t SOURCE[4] = {10, 1, 0, 2}, SINK[4] = {10, 2, 0, 2};

typedef struct {
    uint8_t (*frames)[FRAME]; // one a flow
    uint32_t *sums;           // of its IP header, without the number
    uint64_t *sent_ns;        // by number, where times are wanted
    uint32_t flows, most;
    uint64_t offered, refused;
} load_t;

static void die(const char *what) {
    fprintf(stderr, "packetload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

// A packet socket on a device of a namespace, with its MAC address.
static int open_in(const char *space, const char *device, uint8_t mac[6], int protocol) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", space);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) != 0) {
        die(path);
    }
    close(ns);
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    struct ifreq r = {0};
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", device);
    if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &r) != 0) {
        die(device);
    }
    memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    if (protocol != 0) {
        // The sink: UDP to PORT. Of all protocols, because such a socket is asked before nft's ingress drops.
        struct sock_filter code[] = {
            {BPF_LD | BPF_B | BPF_ABS, 0, 0, 23},
            {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 17},
            {BPF_LD | BPF_H | BPF_ABS, 0, 0, UDP + 2},
            {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, PORT},
            {BPF_RET | BPF_K, 0, 0, FRAME},
            {BPF_RET | BPF_K, 0, 0, 0},
        };
        struct sock_fprog filter = {sizeof code / sizeof code[0], code};
        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) {
            die("filter");
        }
    }
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol)};
    at.sll_ifindex = if_nametoindex(device);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        die("bind");
    }
    return fd;
}

static uint32_t sum_of(const uint8_t *p, int n) {
    uint32_t sum = 0;
    for (int i = 0; i < n; i += 2) {
        sum += p[i] << 8 | p[i + 1];
    }
    return sum;
}

static void put16(uint8_t *p, uint32_t v) {
    p[0] = v >> 8;
    p[1] = v;
}

static uint16_t folded(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    return ~((sum & 0xffff) + (sum >> 16));
}

static void make_frames(load_t *l, const uint8_t to[6], const uint8_t from[6]) {
    for (uint32_t i = 0; i < l->flows; i++) {
        uint8_t *f = l->frames[i];
        memcpy(f, to, 6);
        memcpy(f + 6, from, 6);
        put16(f + 12, ETH_P_IP);
        f[IP] = 0x45;
        put16(f + IP + 2, FRAME - IP);
        f[IP + 8] = 64;
        f[IP + 9] = 17;
        memcpy(f + IP + 12, SOURCE, 4);
        memcpy(f + IP + 16, SINK, 4);
        put16(f + UDP, FIRST_PORT + i);
        put16(f + UDP + 2, PORT);
        put16(f + UDP + 4, FRAME - UDP);
        uint32_t sum = sum_of(f + IP + 12, 8) + 17 + FRAME - UDP + sum_of(f + UDP, FRAME - UDP);
        put16(f + UDP + 6, folded(sum) ? folded(sum) : 0xffff);
        l->sums[i] = sum_of(f + IP, 20);
    }
}

// The next n frames, numbered in the IP header.
static void send_some(load_t *l, int fd, int n) {
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    uint8_t copies[BATCH][FRAME];
    for (int i = 0; i < n; i++) {
        uint64_t number = l->offered + i;
        uint32_t flow = number % l->flows;
        memcpy(copies[i], l->frames[flow], FRAME);
        put16(copies[i] + ID, number);
        put16(copies[i] + IP_SUM, folded(l->sums[flow] + (number & 0xffff)));
        parts[i] = (struct iovec){copies[i], FRAME};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        if (l->sent_ns != NULL && number < l->most) {
            l->sent_ns[number] = now_ns(CLOCK_REALTIME);
        }
    }
    l->offered += n;
    for (int done = 0; done < n;) {
        int sent = sendmmsg(fd, messages + done, n - done, 0);
        if (sent < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) {
            die("send");
        }
        l->refused += sent < 0 && errno != EINTR;
        done += sent > 0 ? sent : sent < 0 && errno != EINTR;
    }
}

static void swap(uint8_t *a, uint8_t *b, int n) {
    for (int i = 0; i < n; i++) {
        uint8_t kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

// A frame of each flow, and the sink's answer to it. How many flows had one.
static uint32_t answer(load_t *l, int source, int sink) {
    uint32_t answered = 0;
    for (uint32_t flow = 0; flow < l->flows; flow++) {
        uint8_t f[FRAME];
        memcpy(f, l->frames[flow], FRAME);
        put16(f + IP_SUM, folded(l->sums[flow]));
        struct pollfd ready = {.fd = sink, .events = POLLIN};
        if (send(source, f, FRAME, 0) != FRAME || poll(&ready, 1, ANSWER_MS) != 1 || recv(sink, f, FRAME, 0) != FRAME) {
            continue;
        }
        swap(f, f + 6, 6);
        swap(f + IP + 12, f + IP + 16, 4);
        swap(f + UDP, f + UDP + 2, 2);
        answered += send(sink, f, FRAME, 0) == FRAME;
    }
    return answered;
}

static uint32_t arrived(int fd) {
    struct tpacket_stats stats;
    socklen_t size = sizeof stats;
    if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0) {
        die("statistics");
    }
    return stats.tp_packets; // also those that found no room
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// What the sink's socket holds: nanoseconds each took, sorted. How many. One that came before it was sent is not of
// this run: a late answer(), somebody else's frame; or the clock was set meanwhile.
static uint32_t read_times(load_t *l, int fd, uint64_t *took) {
    uint32_t n = 0;
    uint64_t expected = 0;
    for (;;) {
        uint8_t frame[FRAME];
        char control[128];
        struct iovec part = {frame, sizeof frame};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        if (recvmsg(fd, &m, MSG_DONTWAIT) < FRAME) {
            break;
        }
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        struct timespec t;
        if (c == NULL || c->cmsg_type != SO_TIMESTAMPNS) {
            die("no time stamp");
        }
        memcpy(&t, CMSG_DATA(c), sizeof t);
        uint64_t number = expected + (int16_t)((frame[ID] << 8 | frame[ID + 1]) - (uint16_t)expected);
        uint64_t stamp = t.tv_sec * 1000000000ull + t.tv_nsec;
        if (number < l->offered && number < l->most && n < l->most && stamp >= l->sent_ns[number]) {
            took[n++] = stamp - l->sent_ns[number];
            expected = number + 1;
        }
    }
    qsort(took, n, sizeof *took, by_size);
    return n;
}

static void rest_ms(int ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "see the head of packetload.c\n");
        return 2;
    }
    double rate = atof(argv[6]), seconds = atof(argv[7]);
    bool timed = strcmp(argv[9], "time") == 0;
    load_t l = {.flows = atoi(argv[8]), .most = rate * seconds + 1};
    uint8_t own[6], other[6], hop[6];
    if (sscanf(argv[3], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", hop, hop + 1, hop + 2, hop + 3, hop + 4, hop + 5) != 6) {
        die("MAC");
    }
    int sink = open_in(argv[4], argv[5], other, ETH_P_ALL), source = open_in(argv[1], argv[2], own, 0);
    int on = 1, room = timed ? TIMED_BUFFER : 1;
    setsockopt(source, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    if (setsockopt(sink, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
        setsockopt(sink, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0) {
        die("sink");
    }
    l.frames = calloc(l.flows, FRAME);
    l.sums = calloc(l.flows, sizeof *l.sums);
    l.sent_ns = timed ? calloc(l.most, sizeof *l.sent_ns) : NULL;
    make_frames(&l, hop, own);
    prctl(PR_SET_TIMERSLACK, 1);
    uint32_t answered = strcmp(argv[9], "fill") == 0 ? 0 : answer(&l, source, sink);
    arrived(sink);

    uint64_t start = now_ns(CLOCK_MONOTONIC), now = start, window = 0, early = 0, slot = start, skipped = 0;
    uint64_t step = timed && 1e9 / rate < SLOT_NS ? 1e9 / rate : SLOT_NS;
    while (now - start < seconds * 1e9) {
        uint64_t due = (now - start) * rate / 1e9 + 1 - skipped;
        if (due > l.offered + MOST_LATE) { // we were not let run: no burst that would not be there else
            skipped += due - l.offered - MOST_LATE;
            due = l.offered + MOST_LATE;
        }
        while (l.offered < due) {
            int most = timed ? 1 : BATCH;
            send_some(&l, source, due - l.offered < (unsigned)most ? due - l.offered : (unsigned)most);
        }
        if (window == 0 && now - start > WARM_MS * 1000000ull) {
            early = arrived(sink);
            window = now_ns(CLOCK_MONOTONIC);
        }
        slot += step;
        struct timespec until = {slot / 1000000000, slot % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        now = now_ns(CLOCK_MONOTONIC);
        slot = slot + step < now ? now : slot;
    }
    uint64_t in_window = arrived(sink), end = now_ns(CLOCK_MONOTONIC);
    rest_ms(DRAIN_MS);
    uint64_t all = early + in_window + arrived(sink);
    printf(
        "{\"offered\": %llu, \"refused\": %llu, \"arrived\": %llu, \"offered_per_s\": %.0f, \"arrived_per_s\": %.0f, "
        "\"answered\": %u",
        (unsigned long long)l.offered, (unsigned long long)l.refused, (unsigned long long)all,
        l.offered * 1e9 / (end - start), window ? in_window * 1e9 / (end - window) : 0, answered);
    if (timed) {
        uint64_t *took = calloc(l.most, sizeof *took);
        uint32_t n = read_times(&l, sink, took);
        if (n != 0) {
            printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"most_us\": %.1f", took[n / 2] / 1e3,
                   took[(uint64_t)n * 99 / 100] / 1e3, took[n - 1] / 1e3);
        }
    }
    printf("}\n");
    return 0;
}
