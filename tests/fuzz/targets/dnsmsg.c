// SPDX-License-Identifier: MIT
// Questions to a name server, and the answers that are written for them. modules/dns/dnsmsg.c

#include <string.h>

#include "dnsmsg.h"
#include "world.h"

void fuzz_one(void) {
    static const uint8_t head[DNSMSG_HEAD] = {0x84, 0, 0, 1, 0, 0, 0, 0};
    size_t len, body_len;
    size_t room = in_u16() % 1500;
    uint8_t *body = in_bytes(300, &body_len), *message = in_rest(1500, &len);
    dnsmsg_query_t *q = in_space(sizeof *q);
    if (!dnsmsg_parse(q, message, len)) {
        return;
    }
    FUZZ_CHECK(q->end <= len && q->end >= DNSMSG_HEADER + 5 && q->size >= DNSMSG_UDP_MIN);
    FUZZ_CHECK(q->name_len >= 1 && q->name_len <= DNSMSG_NAME_MAX);
    uint8_t *out = in_space(room);
    dnsmsg_writer_t w;
    if (dnsmsg_begin(&w, q, out, room)) {
        bool all = true;
        for (unsigned i = 0; i < 20 && all; i++) {
            all = i % 2 ? dnsmsg_append(&w, body, body_len) : dnsmsg_record(&w, 60, body, body_len);
        }
        if (all) {
            FUZZ_CHECK(dnsmsg_end(&w, head, 1232) <= room);
        }
    }
}
