// SPDX-License-Identifier: MIT
// A name server that answers with anything to the question that was asked. lwIP's dns.c, modules/lwip/sock_dns.c,
// netdns.c

#include <string.h>

#include "net.h"
#include "sock.h"

enum { ANSWER = 520, NAMES = 4 };

static uint8_t question[ANSWER];
static uint32_t question_len;
static uint16_t port;

static void on_frame(const sent_t *f) {
    if (f->len > 42 + 12 && get16(f->data + 12) == 0x0800 && get16(f->data + 36) == 53) {
        port = get16(f->data + 34);
        question_len = f->len - 42 < ANSWER ? f->len - 42 : ANSWER;
        memcpy(question, f->data + 42, question_len);
    }
}

void fuzz_one(void) {
    static const char *const names[NAMES] = {"a", "www.example.org", "x.y.z.example",
                                             "a.very-long-name.of.many.parts.test"};
    static uint8_t udp[8 + ANSWER + ANSWER];
    net_start();
    on_sent = on_frame;
    sock_query_t *q = sock_query_start(names[in_below(NAMES)], (int[]){0, SOCK_AF_INET, SOCK_AF_INET6}[in_below(3)]);
    rig_sleep_ms(1);
    while (in_left() > 0) {
        size_t len, at = 8;
        uint8_t how = in_u8();
        uint32_t keeps = how & 1 ? question_len : 2; // with the question, or its number alone
        memcpy(udp + at, question, keeps);
        at += keeps;
        if (how & 1) {
            udp[8 + 2] = how & 2 ? in_u8() : 0x81;
            udp[8 + 3] = how & 4 ? in_u8() : 0x80;
            udp[8 + 7] = how & 8 ? in_u8() : 1;
            udp[8 + 5] = how & 16 ? in_u8() : 1;
        }
        uint8_t *answer = in_bytes(ANSWER, &len);
        memcpy(udp + at, answer, len);
        at += len;
        put16(udp, how & 32 ? in_u16() : 53);
        put16(udp + 2, port);
        put16(udp + 4, (uint32_t)at);
        net_ip4(17, udp, at);
        net_turn();
        if (q != NULL && sock_query_done(q)) {
            sock_query_release(q);
            q = sock_query_start(names[in_below(NAMES)], 0);
            rig_run();
        }
    }
    if (q != NULL) {
        sock_query_release(q);
    }
}
