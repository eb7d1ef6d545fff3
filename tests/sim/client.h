// SPDX-License-Identifier: MIT
// What a client's sessions share: client.c, which has them and those of server.c's ports; redisclient.c and
// pagesclient.c, whose server is an image's script. Context: a client's node.

#ifndef FLOE_SIM_CLIENT_H
#define FLOE_SIM_CLIENT_H

#include "sock.h"

#define MS 1000000ull

typedef enum { ECHO, STORE, DATAGRAM, REDIS, PAGES } kind_t;
typedef enum { IDLE, CONNECTING, OPEN } state_t;

typedef struct {
    unsigned number;
    kind_t kind;
    state_t state;
    sock_t *s;
    uint64_t due;      // IDLE: begin then; datagrams: no answer comes after it
    uint64_t began;    // this connection
    uint64_t progress; // the last one of it
    bool calm_round;   // a whole round has succeeded since the faults are over
    unsigned ops;      // of this round, done
    // Echo: the stream's name and length, bytes sent and got back.
    uint64_t name;
    uint32_t total, sent, got;
    bool shut;
    // Store: the request and what came of the answer. Keys are this session's own.
    unsigned keys[SIM_KEYS / 4], key;
    uint32_t tried[SIM_KEYS / 4], acked[SIM_KEYS / 4];
    uint32_t req_len, req_sent, ans_got;
    bool asked;
    uint8_t req[sizeof(sim_message_t) + SIM_VALUE_MAX], ans[sizeof(sim_message_t) + SIM_VALUE_MAX];
    unsigned lost; // datagrams in a row
} session_t;

enum { CLIENT_SESSIONS = 5 };

// Whether nothing can go wrong for this connection, which began when all was well again.
bool client_calm(const session_t *c);
// What was wanted of the connection has been had; the next one begins after a while.
void client_finished(session_t *c);
// The connection is over, by this error. What was under way has failed, and another connection will try again.
void client_failed(session_t *c, int error);

// A step of an open connection. False: nothing can be done now.
bool redis_step(session_t *c);
void redis_lost(session_t *c); // the connection is: of what was asked, nobody knows whether it was done
bool pages_step(session_t *c);
void pages_begin(session_t *c); // a connection

#endif
