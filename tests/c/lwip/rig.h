// SPDX-License-Identifier: MIT
// A machine for the stack under test: a clock that only moves when told, a network card that checks every
// buffer's way, and makers of frames. Owns the card. Not here: what is tested (checks.c, fuzz.c).
// Context: one thread on the host.

#ifndef FLOE_TEST_LWIP_RIG_H
#define FLOE_TEST_LWIP_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netdev.h"

enum { FRAME_MAX = 65535 + 14, RX_BUFFERS = 64, TX_RING = 32 };
enum { OUR_IP = 0x0a000002, PEER_IP = 0x0a000001 }; // 10.0.0.2, 10.0.0.1

enum { TH_FIN = 1, TH_SYN = 2, TH_RST = 4, TH_PSH = 8, TH_ACK = 16 };

// A frame the stack has sent, flattened, and what it asked the device for.
typedef struct {
    uint8_t data[FRAME_MAX];
    uint32_t len;
    uint16_t csum_start, csum_offset, gso_size, hdr_len;
    uint8_t gso;
    bool csum_needed;
} sent_t;

typedef struct {
    uint16_t src, dst; // ports
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags;
} tcp_t;

extern netdev_t card;
extern const char *boot_ip, *boot_ip6; // words of the command line; NULL: none
extern unsigned rx_lent;               // receive buffers the stack has
extern unsigned tx_pending;            // frames the card has
extern bool tx_stuck;                  // the card completes nothing
extern char said[4096];                // on the console
extern bool said_expected;             // by the check, which looks at it
extern void (*on_sent)(const sent_t *f);

uint32_t rnd(void);
uint32_t rnd_below(uint32_t n);
void rnd_seed(uint32_t seed);

// Start the stack with RAM of this size and a card with these features.
void rig_start(size_t ram, uint32_t features);
// One run of the event source; true if it did something.
bool rig_run(void);
// Let time pass in steps of at most 10 ms, running the stack.
void rig_sleep_ms(unsigned ms);
// Hand a frame to the stack in nsegs pieces. Whoever asks for the peer's address gets it.
void rig_receive(const uint8_t *data, uint32_t len, bool csum_good, unsigned nsegs);

uint16_t naive_sum(const uint8_t *p, size_t len, uint32_t start); // RFC 1071, byte by byte, complemented
uint32_t make_ip4(uint8_t *out, uint8_t proto, uint32_t src, const void *payload, uint32_t len);
uint32_t make_tcp(uint8_t *out, uint32_t src, const tcp_t *t, const void *payload, uint32_t len);
uint32_t make_udp(uint8_t *out, uint16_t src, uint16_t dst, const void *payload, uint32_t len);
uint32_t make_arp(uint8_t *out, uint16_t op, uint32_t sender);
bool read_tcp(const sent_t *f, tcp_t *t, uint32_t *payload_len);

// An ICMPv6 message to the stack (neighbours.c).
void send_icmp6(const uint8_t *from, const uint8_t *to, const uint8_t *body, uint32_t len);

void kept_frames(void); // check of kept.c
void words(void);       // checks of words.c
void boot_words(void);
void boot_words_wrong(void);
void boot_words_odd(void);
void boot_words_none(void);
void boot_words_dhcp(void);
void pending(void);
void vlan(void);     // check of vlan.c
void path_mtu(void); // checks of path_mtu.c
void path_mtu_lie(void);
void claimed(void); // checks of neighbours.c
void redirected(void);
void duplicate(void);
void duplicates(void);
void disbelieved(void);
void malformed(void);
void copied(void); // checks of copies.c
void copied_inside(void);
void copied_card(void);
void copied_fixed(void);
void copied_lease(void);
void copied_names(void);
void copied_keys(void);
void copied_datagrams(void);
void copied_routers(void);
void resumed(void);

uint16_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);
void put16(uint8_t *p, uint32_t v);
void put32(uint8_t *p, uint32_t v);

#endif
