// SPDX-License-Identifier: MIT
// HTTP/1.1 messages (RFC 9112) that a proxy passes on with little ado: a plain request written anew for an upstream, a
// plain answer that is whole. What is rare, or could be read in two ways, is left to others (images/web: http1.py,
// forward.py, answers.py), which also say what is wrong with it. Owns nothing. Context: main loop.

#ifndef FLOE_HTTPPASS_H
#define FLOE_HTTPPASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What tells an upstream who asked; the host that was asked for stands between the pieces.
typedef struct {
    const uint8_t *data[3];
    size_t size[3];
} httppass_words_t;

// The most that httppass_request() makes of so many bytes.
size_t httppass_room(size_t size, const httppass_words_t *words);

// Write the GET request that `head` is, whole and alone, for an upstream. Returns its size; 0: it is not so plain.
// `out` has httppass_room() bytes.
size_t httppass_request(const uint8_t *head, size_t size, const httppass_words_t *words, uint8_t *out);

// Of an answer: its status, its body's size, and where lines are that are for one connection only.
enum { HTTPPASS_CUTS = 2 };
typedef struct {
    unsigned status;
    size_t body;
    unsigned cuts;
    struct {
        size_t from, to;
    } cut[HTTPPASS_CUTS];
} httppass_answer_t;

// Whether `data` is one whole answer to a GET, with a date and a length, on a connection that goes on.
bool httppass_answer(const uint8_t *data, size_t size, httppass_answer_t *answer);

#endif
