// SPDX-License-Identifier: MIT
// Checks: which segments go to a device that cuts frames itself as one, and what a machine's RAM allows of connections
// that are over. Not here: whole connections (connections.c). Context: one thread on the host.

#include <string.h>

#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "netglue.h"
#include "netrand.h"
#include "peer.h"

enum {
    LEN = 100,
    HEADERS = 54,
    FLAGS_AT = 47,
    WINDOW_AT = 48,
    SMALL_RAM = 1 << 20,
    OVER = 50,
    DRAWS = 400,
    MANY = 3 * NETDEV_MAX_SEGS
};

static sent_t seen[MANY];
static unsigned seen_count;

static void keep(const sent_t *f) {
    CHECK(seen_count < MANY);
    seen[seen_count++] = *f;
}

static void push(const uint8_t *frame, uint32_t len) {
    netglue_t *g = netglue_get(0);
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
    CHECK(p != NULL && pbuf_take(p, frame, (u16_t)len) == ERR_OK);
    CHECK(nettx_push(&g->netif, p) == ERR_OK);
    pbuf_free(p);
}

static void segment(uint32_t at, uint32_t len, uint8_t flags, int byte, uint8_t value) {
    static const uint8_t data[2 * LEN];
    uint8_t frame[HEADERS + 2 * LEN];
    tcp_t t = {PORT, PEER_PORT, 5000 + at, 77, 1000, (uint8_t)(TH_ACK | flags)};
    uint32_t n = make_tcp(frame, OUR_IP, &t, data, len);
    if (byte >= 0) {
        frame[byte] ^= value;
    }
    push(frame, n);
}

static unsigned frames(void) {
    seen_count = 0;
    nettx_flush(netglue_get(0));
    nettx_reclaim(netglue_get(0));
    return seen_count;
}

// Two segments, the second with one byte of its headers changed; how many frames they leave as.
static unsigned pair(uint32_t first, uint32_t at, uint32_t second, uint8_t flags, int byte) {
    segment(0, first, 0, -1, 0);
    segment(at, second, flags, byte, 0x40);
    return frames();
}

static void check_whole(uint32_t payload, bool pushed) {
    const uint8_t *ip = seen[0].data + 14;
    CHECK(seen[0].len == HEADERS + payload && get16(ip + 2) == 40 + payload && naive_sum(ip, 20, 0) == 0);
    CHECK(seen[0].gso == NETDEV_GSO_TCP4 && seen[0].gso_size == LEN && seen[0].hdr_len == HEADERS);
    CHECK(seen[0].csum_needed && ((seen[0].data[FLAGS_AT] & TH_PSH) != 0) == pushed);
}

void joined(void) {
    // Addresses, kinds, lifetimes, ports, acknowledgement, window, urgent pointer: all headers but lengths, sums, IP's
    // identification, and the sequence number, which has cases of its own.
    static const uint8_t same[] = {0, 5, 6, 11, 14 + 1, 14 + 6, 14 + 8, 26, 29, 30, 33, 34, 35, 36, 37, 42, 45, 48};
    rig_start(RAM, NETDEV_F_TX_CSUM | NETDEV_F_TX_TSO4);
    rig_sleep_ms(2000);
    on_sent = keep;
    frames();
    CHECK(pair(LEN, LEN, LEN, 0, -1) == 1);
    check_whole(2 * LEN, false);
    CHECK(pair(LEN, LEN, LEN / 2, TH_PSH, -1) == 1); // the last one may be shorter, and says that it is the last
    check_whole(LEN + LEN / 2, true);
    CHECK(pair(LEN, LEN, LEN + 1, 0, -1) == 2);
    CHECK(pair(LEN, LEN, 0, 0, -1) == 2 && seen[1].len == HEADERS); // what only acknowledges is a frame
    CHECK(pair(0, 0, 0, 0, -1) == 2);
    CHECK(pair(0, 0, LEN, 0, -1) == 2);
    CHECK(pair(LEN, LEN + 1, LEN, 0, -1) == 2 && pair(LEN, LEN - 1, LEN, 0, -1) == 2 && pair(LEN, 0, LEN, 0, -1) == 2);
    CHECK(pair(LEN, LEN, LEN, TH_FIN, -1) == 2 && pair(LEN, LEN, LEN, TH_RST, -1) == 2);
    for (unsigned i = 0; i < HAL_ARRAY_LEN(same); i++) {
        CHECK(pair(LEN, LEN, LEN, 0, same[i]) == 2);
    }
    segment(0, LEN, 0, -1, 0);
    segment(LEN, LEN / 2, 0, -1, 0);
    segment(LEN + LEN / 2, LEN / 2, 0, -1, 0); // behind a shorter one
    CHECK(frames() == 2 && seen[0].len == HEADERS + LEN + LEN / 2 && seen[1].len == HEADERS + LEN / 2);
    for (unsigned i = 0; i < 2 * NETDEV_MAX_SEGS; i++) {
        segment(i * LEN, LEN, 0, -1, 0);
    }
    CHECK(frames() >= 2 && seen[0].len <= HEADERS + NETDEV_MAX_SEGS * LEN && seen[0].len > HEADERS + LEN);
    card.features = NETDEV_F_TX_CSUM; // one that does not cut
    CHECK(pair(LEN, LEN, LEN, 0, -1) == 2 && seen[0].gso == NETDEV_GSO_NONE && seen[1].csum_needed);
}

// A card that has no room refuses what was joined, again and again: it leaves as it was, and so does what comes behind.
void joined_refused(void) {
    static const uint8_t other[60] = {[12] = 0x88, [13] = 0xb5}; // of no protocol
    rig_start(RAM, NETDEV_F_TX_CSUM | NETDEV_F_TX_TSO4);
    rig_sleep_ms(2000);
    on_sent = keep;
    tx_stuck = true;
    while (tx_pending < TX_RING) {
        push(other, sizeof other);
        frames();
    }
    for (unsigned i = 0; i < 4; i++) {
        segment(i * LEN, LEN, i % 2 == 1 ? TH_PSH : 0, i < 2 ? -1 : WINDOW_AT, 0x40); // two and two
    }
    CHECK(frames() == 0 && frames() == 0);
    tx_stuck = false;
    CHECK(frames() == 0); // there is room after this
    CHECK(frames() == 2 && seen[1].len == HEADERS + 2 * LEN);
    check_whole(2 * LEN, true);
    CHECK(tx_pending == 0);
}

// For every 8 KiB of RAM a connection, and a quarter of them may be over.
void time_wait_most(void) {
    rig_start(SMALL_RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    for (unsigned i = 0; i < OVER; i++) {
        sock_t *s = accepted(l, (uint16_t)(PEER_PORT + i));
        sock_close(s);
        rig_sleep_ms(1);
        peer_send(TH_FIN | TH_ACK, NULL, 0);
        rig_sleep_ms(1);
    }
    rig_sleep_ms(600); // a tick
    unsigned n = 0;
    for (const struct tcp_pcb *p = tcp_tw_pcbs; p != NULL; p = p->next) {
        n++;
    }
    CHECK(n == SMALL_RAM / (8 * 1024) / 4);
    sock_close(l);
    nothing_left();
}

void random_numbers(void) {
    static uint32_t drawn[DRAWS];
    rig_start(RAM, 0);
    for (unsigned i = 0; i < DRAWS; i++) {
        drawn[i] = netrand_u32();
        CHECK(drawn[i] != 0);
        for (unsigned k = 0; k < i; k++) {
            CHECK(drawn[k] != drawn[i]);
        }
    }
}
