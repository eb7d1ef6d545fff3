// SPDX-License-Identifier: MIT
// Ordinary queries taken apart, and answers to them put together: see dnsmsg.h.
// Owns nothing. Not here: zones. Context: any.

#include "dnsmsg.h"

#include <string.h>

enum { FLAGS_AT = 2, COUNTS_AT = 4, QR_OPCODE = 0xf8, RD = 1, POINTER_TO_QUESTION = 0xc00c };
enum {
    QUESTION_TAIL = 4,
    OPT_HEAD = 11,
    OPTION_HEAD = 4,
    RECORD_HEAD = 12,
    LABEL_MAX = 63,
    DO_BIT = 0x80,
    CLASS_IN = 1
};

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

static void put16(uint8_t *p, size_t value) {
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

// The name of the question and its lower case. 0: malformed, or compressed. Else its length.
static size_t read_name(uint8_t *key, const uint8_t *p, size_t len) {
    size_t at = 0;
    for (;;) {
        if (at >= len || p[at] > LABEL_MAX) {
            return 0;
        }
        size_t next = at + 1 + p[at];
        if (next > len || next > DNSMSG_NAME_MAX) {
            return 0;
        }
        key[at] = p[at];
        if (next == at + 1) {
            return next;
        }
        for (at++; at < next; at++) {
            key[at] = p[at] >= 'A' && p[at] <= 'Z' ? p[at] | 0x20 : p[at];
        }
    }
}

// Whether options fill their place.
static bool options_fit(const uint8_t *p, size_t len) {
    size_t at = 0;
    while (at < len) {
        if (len - at < OPTION_HEAD) {
            return false;
        }
        at += OPTION_HEAD + get16(p + at + 2);
    }
    return at == len;
}

// The rest of a message is one OPT record of version 0.
static bool read_opt(dnsmsg_query_t *q, const uint8_t *p, size_t len) {
    if (len < OPT_HEAD || p[0] != 0 || get16(p + 1) != DNSMSG_OPT || p[6] != 0) {
        return false;
    }
    uint16_t size = get16(p + 3);
    q->edns = true;
    q->size = size < DNSMSG_UDP_MIN ? DNSMSG_UDP_MIN : size;
    q->dnssec_ok = (p[7] & DO_BIT) != 0;
    return len - OPT_HEAD == get16(p + 9) && options_fit(p + OPT_HEAD, len - OPT_HEAD);
}

bool dnsmsg_parse(dnsmsg_query_t *q, const uint8_t *message, size_t len) {
    static const uint8_t counts[7] = {0, 1, 0, 0, 0, 0, 0};
    if (len < DNSMSG_HEADER || len > UINT16_MAX || (message[FLAGS_AT] & QR_OPCODE) != 0 ||
        memcmp(message + COUNTS_AT, counts, sizeof counts) != 0) {
        return false;
    }
    const uint8_t *p = message + DNSMSG_HEADER;
    len -= DNSMSG_HEADER;
    size_t name_len = read_name(q->key, p, len);
    if (name_len == 0 || len - name_len < QUESTION_TAIL || get16(p + name_len + 2) != CLASS_IN) {
        return false;
    }
    memcpy(q->key + name_len, p + name_len, QUESTION_TAIL);
    q->message = message;
    q->end = (uint16_t)(DNSMSG_HEADER + name_len + QUESTION_TAIL);
    q->name_len = (uint16_t)name_len;
    q->type = get16(p + name_len);
    q->size = DNSMSG_UDP_MIN;
    q->edns = q->dnssec_ok = false;
    p += name_len + QUESTION_TAIL;
    len -= name_len + QUESTION_TAIL;
    uint8_t additional = message[DNSMSG_HEADER - 1];
    return additional == 0 ? len == 0 : additional == 1 && read_opt(q, p, len);
}

bool dnsmsg_begin(dnsmsg_writer_t *w, const dnsmsg_query_t *q, uint8_t *out, size_t size) {
    size_t opt = q->edns ? DNSMSG_OPT_SIZE : 0;
    if (size < q->end + opt) {
        return false;
    }
    *w = (dnsmsg_writer_t){q, out, q->end, size - opt, 0};
    memcpy(out, q->message, q->end);
    return true;
}

bool dnsmsg_append(dnsmsg_writer_t *w, const void *body, size_t len) {
    if (len > w->limit - w->at) {
        return false;
    }
    memcpy(w->out + w->at, body, len);
    w->at += len;
    return true;
}

bool dnsmsg_record(dnsmsg_writer_t *w, uint32_t ttl, const void *data, size_t len) {
    if (len > UINT16_MAX || RECORD_HEAD + len > w->limit - w->at) {
        return false;
    }
    uint8_t *p = w->out + w->at;
    put16(p, POINTER_TO_QUESTION);
    put16(p + 2, w->query->type);
    put16(p + 4, CLASS_IN);
    put16(p + 6, ttl >> 16);
    put16(p + 8, ttl);
    put16(p + 10, len);
    memcpy(p + RECORD_HEAD, data, len);
    w->at += RECORD_HEAD + len;
    w->answers++;
    return true;
}

size_t dnsmsg_end(dnsmsg_writer_t *w, const uint8_t head[DNSMSG_HEAD], uint16_t udp_size) {
    uint8_t *out = w->out;
    out[FLAGS_AT] = 0x80 | head[0] | (w->query->message[FLAGS_AT] & RD);
    out[FLAGS_AT + 1] = head[1];
    put16(out + COUNTS_AT, 1);
    memcpy(out + COUNTS_AT + 2, head + 2, DNSMSG_HEAD - 2);
    if (w->query->edns) {
        put16(out + DNSMSG_HEADER - 2, get16(head + 6) + 1u);
        uint8_t *opt = out + w->at;
        memset(opt, 0, DNSMSG_OPT_SIZE);
        put16(opt + 1, DNSMSG_OPT);
        put16(opt + 3, udp_size);
        opt[7] = w->query->dnssec_ok ? DO_BIT : 0;
        w->at += DNSMSG_OPT_SIZE;
    }
    return w->at;
}
