// SPDX-License-Identifier: MIT
// The server of the simulation: it sends back what it gets (bytes, datagrams), and keeps values: an answer to a SET
// goes out when the value is on the medium. Sockets as Python's would use them, without Python.
// Owns the connections. Not here: the file (store.c), who checks what comes of it (client.c). Context: its node.

#include <string.h>

#include "sock.h"

enum { CONNECTIONS = 48, BACKLOG = 8, PIECE = 1800 };
#define IDLE_NS 3000000000000ull // no peer is silent for so long

typedef struct {
    sock_t *s; // NULL: free
    bool store, eof;
    uint64_t active;
    uint32_t have, sent; // echo: bytes in buf, and of them sent; store: bytes of a request; of its answer
    uint32_t answer;     // bytes of the answer in buf; 0: a request is being read
    uint8_t buf[sizeof(sim_message_t) + PIECE];
} conn_t;

const char sim_serves[] = "", sim_words[] = "";
static conn_t conns[CONNECTIONS];
static sock_t *echo_listener, *store_listener, *datagrams;

static sock_t *open_on(int type, uint16_t port) {
    sock_t *s = sock_new(SOCK_AF_INET6, type);
    sock_addr_t any = {*IP6_ADDR_ANY, port};
    hal_assert(s != NULL && sock_bind(s, &any) == 0);
    hal_assert(type != SOCK_TYPE_STREAM || sock_listen(s, BACKLOG) == 0);
    return s;
}

static void drop(conn_t *c) {
    sim_note("closes", (uint64_t)(c - conns), 0);
    sock_close(c->s);
    c->s = NULL;
}

static void accept_all(sock_t *l, bool store) {
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        sock_addr_t from;
        sock_t *s;
        if (conns[i].s != NULL) {
            continue;
        }
        if (sock_accept(l, &s, &from) != 0) {
            return;
        }
        memset(&conns[i], 0, sizeof conns[i]);
        conns[i].s = s;
        conns[i].store = store;
        conns[i].active = hal_clock_ns();
    }
}

// Send what is left of buf[0..len). 1: all; 0: not now; -1: the connection is over.
static int send_rest(conn_t *c, uint32_t len) {
    while (c->sent < len) {
        ssize_t n = sock_send(c->s, c->buf + c->sent, len - c->sent, NULL);
        if (n < 0) {
            return n == -EAGAIN ? 0 : -1;
        }
        c->sent += (uint32_t)n;
    }
    return 1;
}

// False: nothing can be done now.
static bool echo(conn_t *c) {
    if (c->have > 0) {
        int r = send_rest(c, c->have);
        if (r < 0) {
            drop(c);
            return true;
        }
        if (r == 0) {
            return false;
        }
        c->have = c->sent = 0;
    }
    ssize_t n = sock_recv(c->s, c->buf, 1 + sim_below(PIECE), NULL);
    if (n == -EAGAIN) {
        return false;
    }
    if (n <= 0) {
        drop(c);
        return true;
    }
    c->have = (uint32_t)n;
    return true;
}

// The answer to the request in buf, into buf. False: the store is broken.
static bool answer(conn_t *c) {
    sim_message_t m;
    const uint8_t *value;
    uint32_t version;
    memcpy(&m, c->buf, sizeof m);
    unsigned len = sim_store_get(m.key, &version, &value);
    if (m.op == SIM_SET && m.version > version) { // an older one was on its way for long: the newer one holds
        if (sim_store_set(m.key, m.version, c->buf + sizeof m, m.len) != 0) {
            return false;
        }
        len = sim_store_get(m.key, &version, &value);
    }
    m.len = m.op == SIM_GET ? (uint16_t)len : 0;
    m.version = version;
    memcpy(c->buf, &m, sizeof m);
    memcpy(c->buf + sizeof m, value, m.len);
    c->answer = sizeof m + m.len;
    return true;
}

static bool serve(conn_t *c) {
    sim_message_t m;
    if (c->answer > 0) {
        int r = send_rest(c, c->answer);
        if (r < 0) {
            drop(c);
            return true;
        }
        if (r == 0) {
            return false;
        }
        c->have = c->sent = c->answer = 0;
    }
    uint32_t want = sizeof m;
    if (c->have >= sizeof m) {
        memcpy(&m, c->buf, sizeof m);
        want += m.op == SIM_SET ? m.len : 0;
    }
    if (c->have < want) {
        ssize_t n = sock_recv(c->s, c->buf + c->have, want - c->have, NULL);
        if (n == -EAGAIN) {
            return false;
        }
        if (n <= 0) {
            drop(c);
            return true;
        }
        c->have += (uint32_t)n;
        if (c->have < sizeof m) {
            return true;
        }
        memcpy(&m, c->buf, sizeof m);
        if (m.key >= SIM_KEYS || m.len > SIM_VALUE_MAX || (m.op != SIM_SET && m.op != SIM_GET)) {
            sim_broken("server: a request came that nobody has sent");
        }
        if (c->have < sizeof m + (m.op == SIM_SET ? m.len : 0u)) {
            return true;
        }
    }
    if (!answer(c)) {
        drop(c);
    }
    return true;
}

static bool send_back(void) {
    static uint8_t data[SIM_DATAGRAM_MAX];
    sock_addr_t from;
    ssize_t n = sock_recv(datagrams, data, sizeof data, &from);
    if (n < 0) {
        return n != -EAGAIN;
    }
    sock_send(datagrams, data, (size_t)n, &from); // or it is lost
    return true;
}

// True: there is more to do at once.
static bool turn(void) {
    bool more = false;
    accept_all(echo_listener, false);
    accept_all(store_listener, true);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        conn_t *c = &conns[i];
        unsigned budget = 16;
        while (c->s != NULL && budget > 0 && (c->store ? serve(c) : echo(c))) {
            c->active = hal_clock_ns();
            budget--;
        }
        more |= budget == 0;
        if (c->s != NULL && hal_clock_ns() - c->active > IDLE_NS) {
            drop(c);
        }
    }
    unsigned budget = 16;
    while (budget > 0 && send_back()) {
        budget--;
    }
    return more || budget == 0;
}

void sim_server(void) {
    sim_store_open();
    echo_listener = open_on(SOCK_TYPE_STREAM, SIM_ECHO_PORT);
    store_listener = open_on(SOCK_TYPE_STREAM, SIM_STORE_PORT);
    datagrams = open_on(SOCK_TYPE_DGRAM, SIM_DATAGRAM_PORT);
    sim_note("up", sim_start->boots, 0);
    while (sim_phase() != SIM_END) {
        sim_host->done(sim_host->ctx, true);
        hal_event_wait(turn() ? 0 : hal_clock_ns() + 1000000000);
    }
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (conns[i].s != NULL) {
            drop(&conns[i]);
        }
    }
    sock_close(echo_listener);
    sock_close(store_listener);
    sock_close(datagrams);
    sim_nothing_left();
}
