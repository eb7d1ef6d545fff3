// SPDX-License-Identifier: MIT
// What a packet costs in the table of flows, on the host: nanoseconds, one figure a line. ./flow_bench FLOWS PACKETS.
// Frames are made before the clock runs; their order is by chance, so that a large table is out of the caches.
// Not here: parsing. Context: host, no sanitizers.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "packetbytes.h"
#include "packetflow.h"
#include "packetnat.h"
#include "packetparse.h"

enum { FRAME = 14 + 20 + 20 + 6 };

static packet_flows_t *table;
static netdev_frame_t *frames;
static packet_t *packets;
static uint32_t *order;
static uint64_t clock_ns = 1000000000000;

// Of this process: others on the machine make it slower than it is all the same, by the caches they use.
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint32_t chance(void) {
    static uint64_t state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

// Packet i of these flows: src 10.x.x.x, dst 192.0.2.1, as an end that has sent nothing but its SYN would go on.
static void make(uint32_t i, uint8_t proto, uint8_t flags) {
    uint8_t *f = frames[i].seg[0].base, *ip = f + 14, *l4 = ip + 20;
    memset(f, 0, FRAME);
    packet_put16(f + 12, 0x0800);
    ip[0] = 0x45;
    packet_put16(ip + 2, FRAME - 14);
    ip[8] = 64;
    ip[9] = proto;
    packet_put32(ip + 12, 0x0a000000 + i / 4);
    packet_put32(ip + 16, 0xc0000201);
    packet_put_sum(ip + 10, packet_sum(ip, 20, 0));
    packet_put16(l4, 1024 + i % 4);
    packet_put16(l4 + 2, 443);
    if (proto == PACKET_UDP) {
        packet_put16(l4 + 4, FRAME - 34);
    } else {
        packet_put32(l4 + 4, flags == PACKET_TCP_SYN ? 0 : 1);
        l4[12] = 0x50;
        l4[13] = flags;
        packet_put16(l4 + 14, 65535);
    }
    if (packet_parse(&packets[i], &frames[i], 0) != PACKET_PARSED) {
        abort();
    }
}

// Each packet once through look, NAT and commit.
static void pass(uint32_t i, const packet_nat_t *nat) {
    packet_look_t look;
    packet_flow_look(table, &packets[i], clock_ns, &look);
    if (nat != NULL && look.state == PACKET_NEW && look.flow == NULL) {
        (void)packet_nat_src(table, &look, nat);
    }
    packet_nat_translate(&packets[i], &look, PACKET_NAT_DST);
    (void)packet_flow_commit(table, &packets[i], &look);
    packet_nat_translate(&packets[i], &look, PACKET_NAT_SRC);
}

static void run(const char *name, uint32_t flows, uint32_t count, uint8_t proto, const packet_nat_t *nat) {
    static const uint64_t seed[2] = {0x0123456789abcdef, 0xfedcba9876543210};
    packet_flow_init(table, flows, seed);
    packet_flow_set_loose(table, true);
    for (uint32_t i = 0; i < flows; i++) {
        make(i, proto, PACKET_TCP_ACK);
    }
    double begin = now();
    for (uint32_t i = 0; i < flows; i++) {
        pass(i, nat);
    }
    printf("%s, new: %.1f\n", name, (now() - begin) / flows);
    double total = 0;
    for (uint32_t done = 0; done < count; done += flows) {
        for (uint32_t i = 0; nat != NULL && i < flows; i++) {
            make(i, proto, PACKET_TCP_ACK); // as it was before it was translated
        }
        begin = now();
        for (uint32_t i = 0; i < flows; i++) {
            pass(order[i], nat);
        }
        total += now() - begin;
        packet_flow_age(table, clock_ns += 1000000, 1000);
    }
    printf("%s: %.1f\n", name, total / ((count + flows - 1) / flows * (double)flows));
    packet_flow_stats_t s;
    packet_flow_stats(table, &s);
    if (s.flows != flows || s.invalid + s.refused + s.ports_exhausted != 0) {
        abort();
    }
}

int main(int argc, char **argv) {
    uint32_t flows = argc > 1 ? (uint32_t)atol(argv[1]) : 10000, count = argc > 2 ? (uint32_t)atol(argv[2]) : 1000000;
    table = malloc(packet_flow_size(flows));
    frames = calloc(flows, sizeof *frames);
    packets = calloc(flows, sizeof *packets);
    order = calloc(flows, sizeof *order);
    uint8_t *bytes = malloc((size_t)flows * FRAME);
    for (uint32_t i = 0; i < flows; i++) {
        frames[i] = (netdev_frame_t){.nsegs = 1, .seg = {{bytes + (size_t)i * FRAME, FRAME}}};
        order[i] = i;
    }
    for (uint32_t i = flows - 1; i > 0; i--) {
        uint32_t j = chance() % (i + 1), other = order[i];
        order[i] = order[j];
        order[j] = other;
    }
    packet_nat_t nat = {.address = {203, 0, 113, 1}, .first = 1024, .last = 65535};
    packet_nat_t each = {.address = {100, 64, 0, 0}, .bits = 10, .keep = true};
    run("udp", flows, count, PACKET_UDP, NULL);
    run("tcp", flows, count, PACKET_TCP, NULL);
    run("tcp, static nat", flows, count, PACKET_TCP, &each);
    if (flows <= 50000) {
        run("tcp, masquerade", flows, count, PACKET_TCP, &nat);
    }
    return 0;
}
