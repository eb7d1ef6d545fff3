// SPDX-License-Identifier: MIT
// dnsmsg.c for the tests: reads messages from standard input, each behind its length (16 bits, big-endian), and answers
// each with what it made of it. Context: a process on the host, under sanitizers.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsmsg.h"

static int read_exactly(void *p, size_t n) { return fread(p, 1, n, stdin) == n; }

static void write_counted(const uint8_t *p, size_t n) {
    putchar((int)(n >> 8));
    putchar((int)(n & 0xff));
    fwrite(p, 1, n, stdout);
}

// The answer: one A record of the name that was asked for, in at most `size` bytes.
static size_t answer(const dnsmsg_query_t *q, uint8_t *out, size_t size) {
    static const uint8_t head[DNSMSG_HEAD] = {4, 0, 0, 1, 0, 0, 0, 0};
    dnsmsg_writer_t w;
    if (!dnsmsg_begin(&w, q, out, size) || !dnsmsg_record(&w, 0x01020304, "\xc0\x00\x02\x01", 4)) {
        return 0;
    }
    return dnsmsg_end(&w, head, 1232);
}

// For each message: 0, or what was read of it and answers into buffers of each size up to 600.
int main(void) {
    uint8_t head[2];
    while (read_exactly(head, 2)) {
        size_t len = (size_t)head[0] << 8 | head[1];
        uint8_t *message = malloc(len + !len); // of its own size: what reads beyond it is seen
        if (message == NULL || !read_exactly(message, len)) {
            return 1;
        }
        dnsmsg_query_t q;
        if (!dnsmsg_parse(&q, message, len)) {
            write_counted(message, 0);
        } else {
            uint8_t facts[] = {(uint8_t)(q.size >> 8), (uint8_t)q.size, q.edns, q.dnssec_ok};
            write_counted(facts, sizeof facts);
            write_counted(q.key, q.name_len + 4u);
            size_t made = 0;
            for (size_t size = 0; size <= 600; size++) {
                uint8_t *out = malloc(size + !size);
                made = out == NULL ? 0 : answer(&q, out, size);
                if (made > 0 || size == 600) {
                    write_counted(out, made);
                }
                free(out);
                if (made > 0) {
                    break;
                }
            }
        }
        free(message);
        fflush(stdout);
    }
    return 0;
}
