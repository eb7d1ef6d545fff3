// SPDX-License-Identifier: MIT
// modules/resp/resp.c. Commands: take HEX AT: "END HEX HEX ..." of the command there, or "none"; head LETTER NUMBER:
// the bytes of a head; fuzz SEED COUNT: buffers at random; and of bits.c count HEX FROM TO, find HEX FROM TO BIT,
// join HEX HEX OP: the bytes.

#include "../port/talk.h"

#include "modules/resp/bits.c"
#include "modules/resp/resp.c"

static void take(const talk_t *t) {
    size_t size;
    size_t count;
    uint8_t *data = talk_bytes(t, 1, &size); // ends where the block does
    size_t at = talk_number(t, 2);
    size_t end = resp_command(data, size, at, &count);
    if (end == 0) {
        printf("none\n");
    } else {
        printf("%zu\n", end);
        at += 1 + (size_t)snprintf(NULL, 0, "%zu", count) + 2;
        for (; count > 0; count--) {
            size_t len = resp_argument(data, &at);
            talk_print_bytes(data + at, len);
            at += len + 2;
        }
    }
    free(data);
}

static void head(const talk_t *t) {
    char *text = malloc(RESP_HEAD_MAX);
    size_t len = resp_head(text, t->word[1][0], strtoll(t->word[2], NULL, 10));
    talk_print_bytes(text, len);
    free(text);
}

static uint32_t random_state;

static uint32_t pick(uint32_t below) {
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)random_state * below) >> 32);
}

// A command that is whole, then bytes of it changed, added or cut off.
static size_t mutated(uint8_t *to) {
    static const char letters[] = "0123456789*$\r\n-+:x\0\xff";
    uint32_t count = pick(5);
    size_t n = (size_t)sprintf((char *)to, "*%u\r\n", count);
    for (; count > 0; count--) {
        uint32_t len = pick(20);
        n += (size_t)sprintf((char *)to + n, "$%u\r\n", len);
        for (uint32_t i = 0; i < len; i++) {
            to[n++] = (uint8_t)letters[pick(sizeof letters - 1)];
        }
        to[n++] = '\r';
        to[n++] = '\n';
    }
    for (uint32_t i = pick(4); i > 0; i--) {
        to[pick((uint32_t)n)] = (uint8_t)letters[pick(sizeof letters - 1)];
    }
    return pick(3) == 0 ? pick((uint32_t)n + 1) : n;
}

static void fuzz(const talk_t *t) {
    uint8_t made[256];
    unsigned taken = 0;
    random_state = (uint32_t)talk_number(t, 1);
    for (uint64_t left = talk_number(t, 2); left > 0; left--) {
        size_t size = mutated(made);
        uint8_t *data = malloc(size > 0 ? size : 1);
        memcpy(data, made, size);
        size_t count = 0;
        size_t end = resp_command(data, size, 0, &count);
        if (end != 0) {
            size_t at = (size_t)((uint8_t *)memchr(data, '\n', size) - data) + 1;
            taken++;
            for (; count > 0; count--) {
                size_t len = resp_argument(data, &at);
                if (len > end - 2 || at > end - 2 - len) {
                    abort();
                }
                at += len + 2;
            }
            if (at != end || end > size) {
                abort();
            }
        }
        free(data);
    }
    printf("%u\n", taken);
}

static void range(const talk_t *t) {
    size_t size;
    uint8_t *data = talk_bytes(t, 1, &size);
    uint64_t from = talk_number(t, 2);
    uint64_t to = talk_number(t, 3);
    uint64_t n = talk_is(t, "count") ? resp_bits_count(data, from, to)
                                     : resp_bits_find(data, from, to, (unsigned)talk_number(t, 4));
    printf("%llu\n", (unsigned long long)n);
    free(data);
}

static void join(const talk_t *t) {
    size_t size;
    size_t others;
    uint8_t *to = talk_bytes(t, 1, &size);
    uint8_t *from = talk_bytes(t, 2, &others);
    resp_bits_join(to, from, size < others ? size : others, (resp_bits_op_t)talk_number(t, 3));
    talk_print_bytes(to, size);
    free(from);
    free(to);
}

static void command(const talk_t *t) {
    if (talk_is(t, "take")) {
        take(t);
    } else if (talk_is(t, "head")) {
        head(t);
    } else if (talk_is(t, "fuzz")) {
        fuzz(t);
    } else if (talk_is(t, "count") || talk_is(t, "find")) {
        range(t);
    } else if (talk_is(t, "join")) {
        join(t);
    }
}

int main(void) { return talk(command); }
