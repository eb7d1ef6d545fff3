// SPDX-License-Identifier: MIT
// A client of the simulation: sessions that use the server and check what they were promised: bytes equal and in order,
// no end before the last one, acknowledged values kept, no connection stuck once the faults are over.
// Owns the sessions. Not here: the server (server.c), what goes wrong (the world). Context: its node.

#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "lwip/tcp.h"

enum { SESSIONS = CLIENT_SESSIONS, OPS = 12, STREAM_MAX = 60000, PIECE = 2500 };
#define GIVE_UP_NS (15000 * MS)     // as an impatient client does
#define STUCK_NS (20000 * MS)       // a connection that began when all was well again
#define STUCK_LATE_NS (200000 * MS) // one that began before, and may have lost all it sent many times over
#define SETTLE_NS (3000 * MS)       // frames that were late have come by then

static session_t sessions[SESSIONS];

bool client_calm(const session_t *c) { return c->began > sim_host->calm(sim_host->ctx) + SETTLE_NS; }

static void rest(session_t *c, unsigned most_ms) {
    if (c->s != NULL) {
        sock_close(c->s);
        c->s = NULL;
    }
    c->state = IDLE;
    c->due = hal_clock_ns() + (1 + sim_below(most_ms)) * MS;
}

void client_finished(session_t *c) {
    sim_note("round", c->number, c->kind);
    c->calm_round |= sim_phase() != SIM_FAULTS && client_calm(c);
    c->ops = 0;
    rest(c, 2000);
}

void client_failed(session_t *c, int error) {
    sim_note("failed", c->number, (uint64_t)-error);
    if (sim_phase() != SIM_FAULTS && client_calm(c)) {
        sim_broken("client %u: session %u: connection failed with %d, and nothing was wrong", sim_start->index,
                   c->number, error);
    }
    if (c->kind == REDIS) {
        redis_lost(c);
    }
    rest(c, 1000);
}

static void address(const session_t *c, sock_addr_t *a) {
    static const uint16_t ports[] = {SIM_ECHO_PORT, SIM_STORE_PORT, SIM_DATAGRAM_PORT, SIM_STORE_PORT, SIM_PAGES_PORT};
    a->port = ports[c->kind];
    if (sim_start->six) {
        IP_ADDR6(&a->ip, lwip_htonl(0xfd000000), 0, 0, lwip_htonl(1));
    } else {
        IP_ADDR4(&a->ip, 10, 0, 0, 1);
    }
}

static bool begin(session_t *c) {
    sock_addr_t to;
    uint64_t now = hal_clock_ns();
    if (now < c->due) {
        return false;
    }
    c->s = sock_new(SOCK_AF_INET6, c->kind == DATAGRAM ? SOCK_TYPE_DGRAM : SOCK_TYPE_STREAM);
    c->began = c->progress = now;
    if (c->s == NULL) {
        client_failed(c, -ENOMEM);
        return true;
    }
    address(c, &to);
    int e = sock_connect(c->s, &to);
    if (e != -EINPROGRESS && e != 0) {
        client_failed(c, e);
        return true;
    }
    c->state = e == 0 ? OPEN : CONNECTING;
    c->name = (uint64_t)sim_below(UINT32_MAX) << 8 | (uint64_t)(c - sessions);
    c->total = 1 + sim_below(1u + sim_below(STREAM_MAX));
    c->sent = c->got = 0;
    c->shut = c->asked = false;
    if (c->kind == PAGES) {
        pages_begin(c);
    }
    return true;
}

static bool echo(session_t *c) {
    uint8_t buf[PIECE];
    bool worked = false;
    if (c->sent < c->total) {
        uint32_t n = 1 + sim_below(PIECE - 1);
        n = n < c->total - c->sent ? n : c->total - c->sent;
        for (uint32_t i = 0; i < n; i++) {
            buf[i] = sim_byte(c->name, c->sent + i);
        }
        ssize_t r = sock_send(c->s, buf, n, NULL);
        if (r < 0 && r != -EAGAIN) {
            client_failed(c, (int)r);
            return true;
        }
        worked |= r > 0;
        c->sent += r > 0 ? (uint32_t)r : 0;
    } else if (!c->shut) {
        c->shut = true;
        int e = sock_shutdown_write(c->s);
        if (e != 0 && e != -EAGAIN) {
            client_failed(c, e);
            return true;
        }
        c->shut = worked = e == 0;
    }
    ssize_t r = sock_recv(c->s, buf, 1 + sim_below(PIECE - 1), NULL);
    if (r == -EAGAIN) {
        return worked;
    }
    if (r < 0) {
        client_failed(c, (int)r);
        return true;
    }
    for (ssize_t i = 0; i < r; i++) {
        if (c->got + (uint32_t)i >= c->sent || buf[i] != sim_byte(c->name, c->got + (uint32_t)i)) {
            sim_broken("client %u: byte %u of a stream came back wrong", sim_start->index, c->got + (uint32_t)i);
        }
    }
    c->got += (uint32_t)r;
    if (r == 0) {
        if (c->got < c->total && sim_start->may_fail && !client_calm(c)) {
            client_failed(c, -ECONNABORTED); // the server had no memory to go on with
            return true;
        }
        if (c->got < c->total) {
            sim_broken("client %u: a stream ended after %u of %u bytes", sim_start->index, c->got, c->total);
        }
        client_finished(c);
    }
    return true;
}

static uint64_t value_name(unsigned key, uint32_t version) { return (uint64_t)key << 40 | version; }
static unsigned value_len(unsigned key, uint32_t version) { return 1 + version * 37 % (SIM_VALUE_MAX - 1) + key * 0; }

static void ask(session_t *c) {
    sim_message_t m = {0};
    c->key = sim_below(HAL_ARRAY_LEN(c->keys));
    m.op = sim_below(3) == 0 ? SIM_GET : SIM_SET;
    m.key = (uint8_t)c->keys[c->key];
    c->req_len = sizeof m;
    if (m.op == SIM_SET) {
        m.version = ++c->tried[c->key];
        m.len = (uint16_t)value_len(m.key, m.version);
        for (unsigned i = 0; i < m.len; i++) {
            c->req[sizeof m + i] = sim_byte(value_name(m.key, m.version), i);
        }
        c->req_len += m.len;
    }
    memcpy(c->req, &m, sizeof m);
    c->req_sent = c->ans_got = 0;
    c->asked = true;
}

// A whole answer is there.
static void judge(session_t *c) {
    sim_message_t m, q;
    memcpy(&m, c->ans, sizeof m);
    memcpy(&q, c->req, sizeof q);
    unsigned k = c->key;
    if (m.key != q.key || m.op != q.op || m.version > c->tried[k]) {
        sim_broken("client %u: an answer to another question", sim_start->index);
    }
    if (m.version < c->acked[k] || (m.op == SIM_SET && m.version != q.version)) {
        sim_broken("client %u: key %u has version %u, and %u was acknowledged", sim_start->index, m.key, m.version,
                   c->acked[k]);
    }
    if (m.op == SIM_GET && m.len != (m.version == 0 ? 0 : value_len(m.key, m.version))) {
        sim_broken("client %u: a value of another length", sim_start->index);
    }
    for (unsigned i = 0; i < m.len; i++) {
        if (c->ans[sizeof m + i] != sim_byte(value_name(m.key, m.version), i)) {
            sim_broken("client %u: key %u, version %u: byte %u is wrong", sim_start->index, m.key, m.version, i);
        }
    }
    c->acked[k] = m.version;
    c->asked = false;
    if (++c->ops == OPS) {
        client_finished(c);
    }
}

static bool store(session_t *c) {
    bool worked = false;
    if (!c->asked) {
        ask(c);
    }
    if (c->req_sent < c->req_len) {
        ssize_t r = sock_send(c->s, c->req + c->req_sent, c->req_len - c->req_sent, NULL);
        if (r < 0 && r != -EAGAIN) {
            client_failed(c, (int)r);
            return true;
        }
        worked |= r > 0;
        c->req_sent += r > 0 ? (uint32_t)r : 0;
    }
    sim_message_t m;
    uint32_t want = sizeof m;
    if (c->ans_got >= sizeof m) {
        memcpy(&m, c->ans, sizeof m);
        want += m.len;
        if (m.len > SIM_VALUE_MAX) {
            sim_broken("client %u: a value of %u bytes", sim_start->index, m.len);
        }
    }
    if (c->ans_got < want) {
        ssize_t r = sock_recv(c->s, c->ans + c->ans_got, want - c->ans_got, NULL);
        if (r == -EAGAIN) {
            return worked;
        }
        if (r <= 0) {
            client_failed(c, r == 0 ? -EPIPE : (int)r); // the server's end, or that of its power
            return true;
        }
        c->ans_got += (uint32_t)r;
        memcpy(&m, c->ans, sizeof m);
        if (c->ans_got < sizeof m || m.len > 0) {
            want = c->ans_got < sizeof m ? sizeof m : sizeof m + m.len;
            if (c->ans_got < want) {
                return true;
            }
        }
    }
    judge(c);
    return true;
}

static bool datagram(session_t *c) {
    static uint8_t data[SIM_DATAGRAM_MAX];
    uint64_t now = hal_clock_ns();
    ssize_t r = sock_recv(c->s, data, sizeof data, NULL);
    if (r >= 8) {
        uint64_t name;
        memcpy(&name, data, 8);
        for (ssize_t i = 8; i < r; i++) {
            if (data[i] != sim_byte(name, (uint64_t)i)) {
                sim_broken("client %u: byte %d of a datagram of %d came back wrong", sim_start->index, (int)i, (int)r);
            }
        }
        if (name != c->name || (uint32_t)r != c->total) {
            return true; // an earlier one's, or once more
        }
        c->lost = 0;
        c->asked = false;
        if (++c->ops == OPS) {
            client_finished(c);
        }
        return true;
    }
    if (r >= 0) {
        sim_broken("client %u: a datagram of %d bytes", sim_start->index, (int)r);
    }
    if (c->asked && now < c->due) {
        return false;
    }
    if (c->asked && ++c->lost >= 5 && sim_phase() != SIM_FAULTS && client_calm(c)) {
        sim_broken("client %u: datagrams are lost, and nothing was wrong", sim_start->index);
    }
    c->name += 256;
    c->total = 8 + sim_below(1 + sim_below(SIM_DATAGRAM_MAX - 8));
    memcpy(data, &c->name, 8);
    for (uint32_t i = 8; i < c->total; i++) {
        data[i] = sim_byte(c->name, i);
    }
    c->asked = true;
    c->due = now + 1500 * MS;
    r = sock_send(c->s, data, c->total, NULL);
    if (r < 0 && r != -EAGAIN && r != -ENOMEM) {
        client_failed(c, (int)r);
    }
    return true;
}

static _Noreturn void stuck(const session_t *c) {
    const struct tcp_pcb *pcb = c->s->pcb.tcp;
    sim_broken(
        "client %u: session %u is stuck: %u of %u bytes sent, %u got; blocked %d, refused %d, state %d, unsent %d, "
        "unacked %d",
        sim_start->index, c->number, c->kind == ECHO ? c->sent : c->req_sent, c->kind == ECHO ? c->total : c->req_len,
        c->kind == ECHO ? c->got : c->ans_got, c->s->blocked, c->s->refused, pcb == NULL ? -1 : (int)pcb->state,
        pcb != NULL && pcb->unsent != NULL, pcb != NULL && pcb->unacked != NULL);
}

// False: nothing can be done now.
static bool step(session_t *c) {
    uint64_t now = hal_clock_ns();
    if (c->state == IDLE) {
        return begin(c);
    }
    if (c->kind != DATAGRAM) {
        uint64_t most = client_calm(c) ? STUCK_NS : STUCK_LATE_NS, calm = sim_host->calm(sim_host->ctx);
        if (now > calm + SETTLE_NS && now - c->progress > most && now - calm > most) {
            stuck(c);
        }
        if (now - c->progress > GIVE_UP_NS && !sim_start->patient && !client_calm(c)) {
            client_failed(c, -ETIMEDOUT);
            return true;
        }
    }
    bool worked = false;
    if (c->state == CONNECTING) {
        int e = sock_connect_state(c->s);
        if (e == -EINPROGRESS) {
            return false;
        }
        if (e != 0) {
            client_failed(c, e);
            return true;
        }
        c->state = OPEN;
        worked = true;
    } else {
        static bool (*const steps[])(session_t *) = {echo, store, datagram, redis_step, pages_step};
        worked = steps[c->kind](c);
    }
    c->progress = worked ? now : c->progress;
    return worked;
}

// When the next one has something to do of its own.
static uint64_t next_due(void) {
    uint64_t due = hal_clock_ns() + 5000 * MS;
    for (unsigned i = 0; i < SESSIONS; i++) {
        bool timed = sessions[i].state == IDLE || sessions[i].kind == DATAGRAM;
        due = timed && sessions[i].due < due ? sessions[i].due : due;
    }
    return due;
}

void sim_client(void) {
    static const kind_t plain[SESSIONS] = {ECHO, ECHO, STORE, STORE, DATAGRAM};
    static const kind_t redis[SESSIONS] = {REDIS, REDIS, REDIS, REDIS, REDIS};
    static const kind_t web[SESSIONS] = {PAGES, PAGES, PAGES, PAGES, PAGES};
    const char *serves = sim_start->serves;
    const kind_t *kinds = strcmp(serves, "redis") == 0 ? redis : strcmp(serves, "web") == 0 ? web : plain;
    unsigned quarter = (sim_start->index - 1) * 2;
    for (unsigned i = 0; i < SESSIONS; i++) {
        sessions[i].number = i;
        sessions[i].kind = kinds[i];
        for (unsigned k = 0; k < HAL_ARRAY_LEN(sessions[i].keys); k++) {
            sessions[i].keys[k] = (quarter + (i & 1)) * HAL_ARRAY_LEN(sessions[i].keys) + k;
        }
        rest(&sessions[i], 1000);
    }
    while (sim_phase() != SIM_END) {
        bool all = true, worked = false;
        for (unsigned i = 0; i < SESSIONS; i++) {
            for (unsigned budget = 8; budget > 0 && step(&sessions[i]); budget--) {
                worked = true;
            }
            all &= sessions[i].calm_round;
        }
        sim_host->done(sim_host->ctx, all);
        hal_event_wait(worked ? 0 : next_due());
    }
    for (unsigned i = 0; i < SESSIONS; i++) {
        rest(&sessions[i], 1);
    }
    sim_nothing_left();
}
