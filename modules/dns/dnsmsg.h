// SPDX-License-Identifier: MIT
// Messages of DNS (RFC 1035, section 4) as far as they are ordinary: one question, perhaps EDNS (RFC 6891), nothing
// else; and answers to them. What is not ordinary is not judged here: the caller has other means.
// Owns nothing. Not here: what is in zones (mod_dns.c, images/dns). Context: any.

#ifndef FLOE_DNSMSG_H
#define FLOE_DNSMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DNSMSG_HEADER = 12, DNSMSG_NAME_MAX = 255, DNSMSG_UDP_MIN = 512, DNSMSG_HEAD = 8 };
enum { DNSMSG_NS = 2, DNSMSG_CNAME = 5, DNSMSG_SOA = 6, DNSMSG_PTR = 12, DNSMSG_MX = 15 };
enum { DNSMSG_DNAME = 39, DNSMSG_OPT = 41, DNSMSG_DS = 43, DNSMSG_IXFR = 251, DNSMSG_AXFR = 252, DNSMSG_ANY = 255 };

typedef struct {
    const uint8_t *message;
    uint16_t end; // of the question in the message
    uint16_t name_len;
    uint16_t type;
    uint16_t size; // the largest answer that the client takes by UDP
    bool edns, dnssec_ok;
    uint8_t key[DNSMSG_NAME_MAX + 4]; // the question, its name in lower case
} dnsmsg_query_t;

// Take a message apart; it must outlive q. False: it is not an ordinary query of class IN.
bool dnsmsg_parse(dnsmsg_query_t *q, const uint8_t *message, size_t len);

// An answer that is being written. False of a verb: no room, and nothing more is to be done with it.
typedef struct {
    const dnsmsg_query_t *query;
    uint8_t *out;
    size_t at, limit; // limit: without our OPT
    uint16_t answers;
} dnsmsg_writer_t;

enum { DNSMSG_OPT_SIZE = 11 };

// Begin an answer of up to size bytes at out: the header's room, and the question as it was asked.
bool dnsmsg_begin(dnsmsg_writer_t *w, const dnsmsg_query_t *q, uint8_t *out, size_t size);
// What follows the question.
bool dnsmsg_append(dnsmsg_writer_t *w, const void *body, size_t len);
// One record of the answer section that belongs to the question's name and has its type.
bool dnsmsg_record(dnsmsg_writer_t *w, uint32_t ttl, const void *data, size_t len);
// Finish. head: flags besides QR, opcode and RD, and the numbers of records in the three sections, as on the wire.
// udp_size: what our OPT says. Returns the length of the answer.
size_t dnsmsg_end(dnsmsg_writer_t *w, const uint8_t head[DNSMSG_HEAD], uint16_t udp_size);

#endif
