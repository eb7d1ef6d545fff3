// SPDX-License-Identifier: MIT
// The table of flows for the tests, worked by commands (../port/talk.h). Packets come in hexadecimal, from their IP
// header on; each is put behind an Ethernet header into a block of exactly its size. Context: host, sanitizers on.

#include "../port/talk.h"

#include "packetbytes.h"
#include "packetflow.h"
#include "packetnat.h"
#include "packetparse.h"
#include "packetsum.h"
#include "packettable.h"

static packet_flows_t *table;
static uint8_t *frame;
static size_t frame_size;
static netdev_frame_t nf;
static packet_t packet;

// Read word i as a packet. False, and "bad" is printed: the parser does not take it.
static bool read_packet(const talk_t *t, int i) {
    free(frame);
    uint8_t *ip = talk_bytes(t, i, &frame_size);
    frame_size += 14;
    frame = calloc(1, frame_size);
    memcpy(frame + 14, ip, frame_size - 14);
    packet_put16(frame + 12, frame_size > 14 && ip[0] >> 4 == 6 ? 0x86dd : 0x0800);
    free(ip);
    nf = (netdev_frame_t){.nsegs = 1, .seg = {{frame, (uint32_t)frame_size}}};
    if (packet_parse(&packet, &nf, 0) != PACKET_PARSED) {
        printf("bad\n");
        return false;
    }
    return true;
}

// What a word and the numbers behind it say: dnat ADDRESS BITS FIRST LAST BASE, snat ADDRESS BITS FIRST LAST KEEP.
static packet_nat_t read_nat(const talk_t *t, int i) {
    packet_nat_t to = {.bits = (uint8_t)talk_number(t, i + 2),
                       .first = (uint16_t)talk_number(t, i + 3),
                       .last = (uint16_t)talk_number(t, i + 4),
                       .base = (uint16_t)talk_number(t, i + 5),
                       .keep = talk_number(t, i + 5) != 0};
    packet_put32(to.address, (uint32_t)talk_number(t, i + 1));
    return to;
}

static int find(const talk_t *t, const char *word) {
    for (int i = 3; i < t->n; i++) {
        if (strcmp(t->word[i], word) == 0) {
            return i;
        }
    }
    return 0;
}

// What a pipeline does with a packet that is accepted.
static int pass_on(const talk_t *t, packet_look_t *look) {
    int dst = find(t, "dnat"), src = find(t, "snat"), r = 0;
    bool fresh = look->state == PACKET_NEW && look->flow == NULL;
    if (fresh && dst > 0) {
        packet_nat_t to = read_nat(t, dst);
        r = packet_nat_dst(table, look, &to);
    }
    packet_nat_translate(&packet, look, PACKET_NAT_DST);
    if (r == 0 && fresh && (src > 0 || dst > 0)) {
        packet_nat_t to = read_nat(t, src);
        r = packet_nat_src(table, look, src > 0 ? &to : NULL);
    }
    r = r == 0 ? packet_flow_commit(table, &packet, look) : r;
    packet_nat_translate(&packet, look, PACKET_NAT_SRC);
    return r;
}

static void look_only(const talk_t *t, packet_look_t *look) {
    int dst = find(t, "dnat");
    packet_nat_t to = read_nat(t, dst);
    if (dst > 0 && packet_nat_dst(table, look, &to) != 0) {
        printf("no dnat ");
    }
    packet_nat_translate(&packet, look, PACKET_NAT_DST);
    if (find(t, "restore")) {
        packet_nat_restore(&packet, look);
    }
}

// The key is to say what the packet says.
static bool key_is_right(void) {
    packet_t again;
    if (packet_parse(&again, &nf, 0) != PACKET_PARSED) {
        return false;
    }
    again.key.state = packet.key.state;
    return memcmp(&again.key, &packet.key, sizeof again.key) == 0;
}

// pass NOW HEX [look] [restore] [partial] [dnat ...] [snat ...]: a packet that is accepted, but for an invalid one; or
// only looked at, translated and made what it was again. The answer: what it is, its direction, its flow's number, "p"
// or "f" for one that leaves no trace or follows a first fragment, the result, and the packet as it leaves.
static void pass(const talk_t *t) {
    if (!read_packet(t, 2)) {
        return;
    }
    if (find(t, "partial") && packet.l4 != NULL) {
        nf.csum_needed = true;
        nf.csum_start = (uint16_t)(packet.l4 - frame);
        nf.csum_offset = packet.key.proto == PACKET_TCP ? 16 : 6;
    }
    packet_look_t look;
    packet_flow_look(table, &packet, talk_number(t, 1), &look);
    int r = 0;
    if (find(t, "look")) {
        look_only(t, &look);
    } else if (look.state != PACKET_INVALID) {
        r = pass_on(t, &look);
    }
    const char *how = look.follows ? "f" : look.passing ? "p" : "-";
    printf("%u %u %u %s %d ", look.state, look.dir, look.flow == NULL ? 0 : look.flow->number, how, r);
    if (!key_is_right()) {
        printf("wrong key ");
    }
    talk_print_bytes(frame + 14, nf.seg[0].len - 14);
}

static void print_address(const uint8_t *a, unsigned family) {
    for (unsigned i = 0; i < (family == 4 ? 4u : 16u); i++) {
        printf("%02x", a[i]);
    }
    printf(" ");
}

// list WORK: the flows, in so many places at a time.
static void list(const talk_t *t) {
    const packet_flow_t *f;
    for (uint32_t cursor = 0; cursor != UINT32_MAX;) {
        if ((f = packet_flow_next(table, &cursor, (unsigned)talk_number(t, 1))) == NULL) {
            continue;
        }
        printf("%u %u %u %u %u ", f->number, f->tuple[0].family, f->tuple[0].proto, f->life, f->tcp.phase);
        for (unsigned d = 0; d < 2; d++) {
            print_address(f->tuple[d].src, f->tuple[d].family);
            print_address(f->tuple[d].dst, f->tuple[d].family);
            printf("%u %u %lu %lu ", f->tuple[d].sport, f->tuple[d].dport, (unsigned long)f->packets[d],
                   (unsigned long)f->bytes[d]);
        }
        printf("%u %u %u %lu\n", f->replied, f->nat, f->mark, (unsigned long)f->expires_ns);
    }
}

// delete FAMILY PROTO SRC SRC_BITS DST DST_BITS SPORT DPORT WORK
static void delete(const talk_t *t) {
    packet_flow_filter_t w = {.family = (uint8_t)talk_number(t, 1),
                              .proto = (uint8_t)talk_number(t, 2),
                              .src_bits = (uint8_t)talk_number(t, 4),
                              .dst_bits = (uint8_t)talk_number(t, 6),
                              .sport = (uint16_t)talk_number(t, 7),
                              .dport = (uint16_t)talk_number(t, 8)};
    for (int i = 0; i < 2; i++) {
        size_t len;
        uint8_t *p = talk_bytes(t, 3 + 2 * i, &len);
        memcpy(i == 0 ? w.src : w.dst, p, len < 16 ? len : 16);
        free(p);
    }
    unsigned gone = 0;
    for (uint32_t cursor = 0; cursor != UINT32_MAX;) {
        gone += packet_flow_delete(table, &w, &cursor, (unsigned)talk_number(t, 9));
    }
    printf("%u\n", gone);
}

static void stats(void) {
    packet_flow_stats_t s;
    packet_flow_stats(table, &s);
    printf("%lu %lu %lu %lu %lu %lu %lu %lu %lu %u %u %u\n", (unsigned long)s.made, (unsigned long)s.expired,
           (unsigned long)s.deleted, (unsigned long)s.evicted, (unsigned long)s.refused, (unsigned long)s.clashes,
           (unsigned long)s.invalid, (unsigned long)s.ports_exhausted, (unsigned long)s.fragments_lost, s.flows,
           s.young, s.longest);
}

// change BYTES AT NEW SUM KIND: NEW put at AT, and the checksum at SUM mended. The answer: all bytes.
static void change(const talk_t *t) {
    size_t size, len;
    uint8_t *p = talk_bytes(t, 1, &size), *new = talk_bytes(t, 3, &len);
    packet_change_t c = packet_sum_put(0, p + talk_number(t, 2), new, len);
    packet_change_t again = packet_sum_mend(p + talk_number(t, 4), c, (packet_sum_kind_t)talk_number(t, 5));
    talk_print_bytes(p, size);
    printf("%u %u\n", c, again);
    free(p);
    free(new);
}

static void command(const talk_t *t) {
    if (talk_is(t, "init")) { // FLOWS SEED SEED
        uint32_t flows = (uint32_t)talk_number(t, 1);
        uint64_t seed[2] = {talk_number(t, 2), talk_number(t, 3)};
        free(table);
        size_t size = packet_flow_size(flows);
        table = size > 0 ? packet_flow_init(memset(malloc(size), 0xa5, size), flows, seed) : NULL;
        printf("%zu\n", size);
    } else if (talk_is(t, "reseed")) { // SEED SEED
        packet_flow_reseed(table, (uint64_t[2]){talk_number(t, 1), talk_number(t, 2)});
    } else if (talk_is(t, "pass")) {
        pass(t);
    } else if (talk_is(t, "age")) { // NOW WORK
        packet_flow_age(table, talk_number(t, 1), (unsigned)talk_number(t, 2));
    } else if (talk_is(t, "life")) { // KIND SECONDS
        printf("%d\n", packet_flow_set_life(table, (packet_life_t)talk_number(t, 1), (uint32_t)talk_number(t, 2)));
    } else if (talk_is(t, "loose")) { // WHETHER
        packet_flow_set_loose(table, talk_number(t, 1) != 0);
    } else if (talk_is(t, "victims")) { // NS
        packet_flow_set_victim_age(table, talk_number(t, 1));
    } else if (talk_is(t, "list")) {
        list(t);
    } else if (talk_is(t, "delete")) {
        delete(t);
    } else if (talk_is(t, "stats")) {
        stats();
    } else if (talk_is(t, "hash")) { // WORD...
        uint64_t word[8];
        for (int i = 1; i < t->n; i++) {
            word[i - 1] = talk_number(t, i);
        }
        printf("%lu\n", (unsigned long)packet_table_hash(table, word, (unsigned)t->n - 1));
    } else if (talk_is(t, "change")) {
        change(t);
    }
}

int main(void) { return talk(command); }
