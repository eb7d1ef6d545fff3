// SPDX-License-Identifier: MIT
// How connections begin and end: floods of SYNs, cookies, queues, ports, what is lost and what is not.
// Owns nothing. Not here: the far end (peer.c), what happens in between (checks.c). Context: one thread on the host.

#include <string.h>

#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "netmem.h"
#include "peer.h"

static void syn_from(uint32_t ip, uint16_t port) {
    uint8_t frame[128];
    tcp_t t = {port, PORT, rnd(), 0, 1000, TH_SYN};
    rig_receive(frame, make_tcp(frame, ip, &t, NULL, 0), false, 1);
}

void syn_flood(void) {
    rig_start(8 << 20, 0);
    sock_t *l = listen_on(PORT, 5);
    size_t most = 0;
    for (unsigned i = 0; i < 20000; i++) {
        syn_from(0x0a000000 + 3 + rnd_below(250), (uint16_t)rnd());
        if (i % 16 == 0) {
            rig_run();
        }
        if (i % 1000 == 999) { // a real one gets through, and is not the victim of those behind it
            sock_t *s = accepted(l, (uint16_t)(PEER_PORT + i / 1000));
            for (unsigned k = 0; k < 1000; k++) {
                syn_from(0x0a000000 + 3 + rnd_below(250), (uint16_t)rnd());
            }
            rig_run();
            CHECK(sock_send(s, "hello", 5, NULL) == 5);
            rig_sleep_ms(1500); // the flood may have pushed the peer out of the ARP table
            CHECK(peer.got == 5);
            sock_close(s);
        }
        most = netmem_used() > most ? netmem_used() : most;
    }
    CHECK(most < 1 << 20);
    rig_sleep_ms(6000);
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used < 64); // ours, closing
    sock_close(l);
    nothing_left();
}

// The peer's SYN-ACK is noted, and its ACK comes when the test says so.
static void late_sees(const sent_t *f) {
    tcp_t t;
    uint32_t len;
    if (read_tcp(f, &t, &len) && t.dst == peer.port && t.flags == (TH_SYN | TH_ACK)) {
        check_sums(f);
        peer.ack = t.seq + 1;
        CHECK(f->len == 62 && memcmp(f->data + 54, "\2\4\x05\xb4\1\3\3\3", 8) == 0); // the options are kept
        peer.frames++;
    }
}

static void syns(unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        syn_from(0x0a000000 + 3 + rnd_below(250), (uint16_t)rnd());
        if (i % 32 == 31) {
            rig_run();
        }
    }
    rig_run();
}

// While a flood goes on, whoever answers late is served too, with the window that its SYN has offered.
void syn_cookies(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5), *s;
    sock_addr_t from;
    static uint8_t data[30000];
    uint8_t buf[16];
    for (unsigned i = 0; i < 60; i++) {
        syns(32);
        rig_sleep_ms(100);
    }
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used == 0); // those of its beginning are over, and no further ones came
    for (unsigned i = 0; i < 20; i++) {
        syns(200);
        memset(&peer, 0, sizeof peer);
        peer.port = (uint16_t)(PEER_PORT + i);
        peer.seq = rnd();
        peer.window = 512;
        on_sent = late_sees;
        peer_send(TH_SYN, NULL, 0);
        rig_run();
        syns(600);
        peer.seq--;
        peer_send(TH_SYN, NULL, 0); // the same again has the same answer
        uint32_t ack = peer.ack;
        rig_run();
        CHECK(peer.frames == 2 && peer.ack == ack && sock_accept(l, &s, &from) == -EAGAIN);
        on_sent = peer_sees;
        peer.ack += i % 2 == 0 ? 0 : 0x100; // a guess is reset
        peer_send(TH_ACK | TH_PSH, "GET /", 5);
        rig_sleep_ms(20); // the reset may have to ask for the peer's MAC address
        CHECK(peer.got_rst == (i % 2 != 0));
        if (peer.got_rst) {
            CHECK(sock_accept(l, &s, &from) == -EAGAIN);
            continue;
        }
        CHECK(sock_accept(l, &s, &from) == 0 && from.port == peer.port);
        CHECK(sock_recv(s, buf, sizeof buf, NULL) == 5 && memcmp(buf, "GET /", 5) == 0);
        CHECK(s->pcb.tcp->snd_wnd == 65536 && s->pcb.tcp->mss == 1460);
        CHECK(sock_send(s, data, sizeof data, NULL) == sizeof data);
        sock_close(s);
        rig_sleep_ms(1500); // the flood may have pushed the peer out of the ARP table
        CHECK(peer.got == sizeof data && peer.got_fin);
        peer_send(TH_FIN | TH_ACK, NULL, 0);
    }
    CHECK(lwip_stats.memp[MEMP_TCP_PCB]->used < 100);
    rig_sleep_ms(70000); // a cookie's time is over
    peer_send(TH_ACK, NULL, 0);
    rig_run();
    CHECK(sock_accept(l, &s, &from) == -EAGAIN);
    sock_close(l);
    nothing_left();
}

static uint32_t answered;

static void sees_answer(const sent_t *f) {
    tcp_t t;
    uint32_t len;
    answered = read_tcp(f, &t, &len) && t.dst == PEER_PORT && t.flags == (TH_SYN | TH_ACK) ? t.seq + 1 : answered;
}

// What a SYN says comes back out of a cookie: the largest step of the size that is not beyond it, the window's scale,
// and nothing of an option that only looks like one.
void syn_options(void) {
    static const struct {
        const char *options; // eight bytes
        uint16_t mss;
        int scale; // -1: none
    } saying[] = {
        {"\2\4\x05\xb4\1\3\3\7", 1460, 7},  {"\2\4\x03\xe8\1\3\3\2", 1000, 2},    {"\2\4\x03\xe9\1\1\1\1", 1000, -1},
        {"\2\4\x03\xe7\0\3\3\7", 536, -1},  {"\3\3\5\1\1\1\1\1", 536, 5},         {"\3\3\xff\1\1\1\1\1", 536, 14},
        {"\3\4\7\7\2\4\x05\xb4", 1460, -1}, {"\xfe\3\7\1\2\4\x05\xb4", 1460, -1}, {"\2\3\x05\1\3\3\7\1", 536, 7},
    };
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5), *s;
    on_sent = sees_answer;
    for (unsigned i = 0; i < HAL_ARRAY_LEN(saying); i++) {
        uint8_t frame[128];
        tcp_t t = {PEER_PORT, PORT, rnd(), 0, 1000, TH_SYN};
        uint32_t len = make_tcp(frame, PEER_IP, &t, NULL, 0);
        memcpy(frame + len - 8, saying[i].options, 8);
        syns(200);
        rig_receive(frame, len, true, 1);
        rig_run();
        syns(600);
        t = (tcp_t){PEER_PORT, PORT, t.seq + 1, answered, 1000, TH_ACK};
        rig_receive(frame, make_tcp(frame, PEER_IP, &t, NULL, 0), false, 1);
        rig_run();
        sock_addr_t from;
        CHECK(sock_accept(l, &s, &from) == 0 && from.port == PEER_PORT);
        const struct tcp_pcb *pcb = s->pcb.tcp;
        CHECK(pcb->mss == saying[i].mss);
        CHECK(((pcb->flags & TF_WND_SCALE) != 0 ? pcb->snd_scale : -1) == saying[i].scale);
        t.flags = TH_RST | TH_ACK;
        rig_receive(frame, make_tcp(frame, PEER_IP, &t, NULL, 0), false, 1);
        rig_run();
        sock_close(s);
    }
    sock_close(l);
    nothing_left();
}

// What was written before close() arrives, whatever was unread then or comes after it; then the peer is told.
void close_unread(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    static uint8_t data[40000];
    for (unsigned i = 0; i < 2; i++) {
        sock_t *s = accepted(l, (uint16_t)(PEER_PORT + i));
        if (i == 0) {
            peer_send(TH_ACK | TH_PSH, data, 1000);
            rig_sleep_ms(10);
        }
        CHECK(sock_send(s, data, sizeof data, NULL) == sizeof data);
        sock_close(s);
        peer_send(TH_ACK | TH_PSH, data, 1000);
        rig_sleep_ms(200);
        CHECK(peer.got == sizeof data && peer.got_fin && !peer.got_rst);
        peer_send(TH_ACK | TH_PSH, data, 1000);
        rig_sleep_ms(10);
        CHECK(peer.got_rst);
    }
    sock_close(l);
    nothing_left();
}

// An acknowledgement goes with the answer, or alone as soon as there is none.
void prompt_ack(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    unsigned before = peer.frames;
    uint8_t buf[8];
    peer_send(TH_ACK | TH_PSH, "one", 3);
    rig_run();
    rig_run(); // nobody had time to read it yet
    CHECK(peer.frames == before && sock_recv(s, buf, sizeof buf, NULL) == 3 && sock_send(s, "two", 3, NULL) == 3);
    rig_run();
    rig_sleep_ms(100);
    CHECK(peer.frames == before + 1 && peer.got == 3);
    peer_send(TH_ACK | TH_PSH, "three", 5);
    rig_run();
    CHECK(sock_recv(s, buf, sizeof buf, NULL) == 5);
    while (rig_run()) {
    }
    CHECK(peer.frames == before + 2);
    rig_sleep_ms(100);
    CHECK(peer.frames == before + 2);
    peer_send(TH_ACK | TH_PSH, "four", 4);
    rig_run();
    CHECK(sock_recv(s, buf, sizeof buf, NULL) == 4);
    rig_run(); // an answer takes one more turn to write
    CHECK(peer.frames == before + 2 && sock_send(s, "five", 4, NULL) == 4);
    rig_sleep_ms(100);
    CHECK(peer.frames == before + 3 && peer.got == 7);
    sock_close(s);
    sock_close(l);
    nothing_left();
}

static uint16_t drawn;

static void refuse_all(const sent_t *f) {
    tcp_t t;
    uint32_t len;
    uint8_t frame[128];
    if (read_tcp(f, &t, &len) && t.flags == TH_SYN) {
        drawn = t.src;
        tcp_t rst = {t.dst, t.src, 0, t.seq + 1, 0, TH_RST | TH_ACK};
        rig_receive(frame, make_tcp(frame, PEER_IP, &rst, NULL, 0), false, 1);
    }
}

// A local port does not come again before the far end has forgotten it, and the next one's start is no secret's end.
void ports(void) {
    rig_start(RAM, 0);
    on_sent = refuse_all;
    static bool used[65536];
    sock_addr_t to = {IPADDR4_INIT(lwip_htonl(PEER_IP)), PORT};
    uint16_t first[2] = {0};
    for (unsigned i = 0; i < 10000; i++) {
        if (i == 5000) { // another destination does not move this one's
            sock_addr_t other = {to.ip, PORT + 1};
            sock_t *o = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM);
            CHECK(sock_connect(o, &other) == -EINPROGRESS);
            rig_run();
            first[1] = drawn;
            sock_close(o);
        }
        sock_t *s = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM);
        CHECK(sock_connect(s, &to) == -EINPROGRESS);
        rig_run();
        rig_run();
        CHECK(sock_connect_state(s) == -ECONNREFUSED && drawn >= 32768 && !used[drawn]);
        used[drawn] = true;
        first[0] = i == 0 ? drawn : first[0];
        sock_close(s);
    }
    CHECK((uint16_t)(first[1] - first[0]) != 5000);
    nothing_left();
}

void backlog(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 3);
    for (unsigned i = 0; i < 5; i++) { // all at once: nobody could accept one in between
        peer_connect((uint16_t)(PEER_PORT + i));
        CHECK(peer.open);
    }
    rig_sleep_ms(1600);
    peer_connect(PEER_PORT + 9);
    CHECK(!peer.open);
    sock_t *s;
    sock_addr_t from;
    CHECK(sock_accept(l, &s, &from) == 0 && from.port == PEER_PORT);
    sock_close(s);
    peer_connect(PEER_PORT + 9); // who accepts is not behind
    CHECK(peer.open);
    rig_sleep_ms(1600);
    peer_connect(PEER_PORT + 10);
    CHECK(!peer.open);
    for (unsigned i = 0; i < 5; i++) {
        CHECK(sock_accept(l, &s, &from) == 0);
        sock_close(s);
    }
    rig_sleep_ms(1600);
    peer_connect(PEER_PORT + 10); // none waits: however long ago one was accepted
    CHECK(peer.open);
    sock_close(l);
    nothing_left();
}

void time_wait(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    sock_close(s);
    rig_sleep_ms(10);
    CHECK(peer.got_fin);
    peer_send(TH_FIN | TH_ACK, NULL, 0);
    rig_sleep_ms(10);
    CHECK(tcp_tw_pcbs != NULL);
    uint32_t seq = peer.seq + 1000;
    peer.open = false;
    peer.seq = seq - 2000; // an old one
    peer_send(TH_SYN, NULL, 0);
    rig_sleep_ms(10);
    CHECK(!peer.open && tcp_tw_pcbs != NULL);
    peer.seq = seq;
    peer_send(TH_SYN, NULL, 0);
    rig_sleep_ms(10);
    CHECK(peer.open && tcp_tw_pcbs == NULL);
    peer_send(TH_ACK | TH_PSH, "again", 5);
    rig_sleep_ms(10);
    sock_addr_t from;
    uint8_t buf[8];
    CHECK(sock_accept(l, &s, &from) == 0 && sock_recv(s, buf, sizeof buf, NULL) == 5);
    sock_close(s);
    sock_close(l);
    nothing_left();
}
