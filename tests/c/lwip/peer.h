// SPDX-License-Identifier: MIT
// The far end of one connection, and what tests of connections share. Owns nothing. Context: one thread on the host.

#ifndef FLOE_TEST_LWIP_PEER_H
#define FLOE_TEST_LWIP_PEER_H

#include <stdio.h>
#include <stdlib.h>

#include "rig.h"
#include "sock.h"

#define CHECK(e) ((e) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #e), abort()))

enum { PORT = 8080, PEER_PORT = 40000, RAM = 32 << 20 };

// The far end of one connection: acknowledges what comes, as long as it is told to.
typedef struct {
    uint16_t port;
    uint32_t seq, ack, window;
    uint32_t room; // takes this many bytes and closes its window; 0: any number
    bool open, silent, got_fin, got_rst;
    uint8_t data[1 << 20];
    uint32_t got;
    unsigned frames, joined;
} peer_t;

extern peer_t peer;

void peer_send(uint8_t flags, const void *data, uint32_t len);
void peer_sees(const sent_t *f); // for on_sent
void check_sums(const sent_t *f);
// A listener; the peer opens a connection to it; the same, and it is accepted.
sock_t *listen_on(uint16_t port, int backlog);
void peer_connect(uint16_t port);
sock_t *accepted(sock_t *l, uint16_t port);
void nothing_left(void); // once all is closed and a minute has gone by

// checks of connections.c
void syn_flood(void);
void syn_cookies(void);
void syn_options(void);
void close_unread(void);
void prompt_ack(void);
void ports(void);
void backlog(void);
void time_wait(void);

void socket_names(void); // checks of sockets.c
void socket_options(void);
void socket_readable(void);
void socket_stands_on(void);
void owned(void);
void query_unanswered(void);
void orphan_halfway(void);

void joined(void); // checks of joined.c
void joined_refused(void);
void time_wait_most(void);
void random_numbers(void);

#endif
