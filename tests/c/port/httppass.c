// SPDX-License-Identifier: MIT
// modules/http/httppass.c. Commands: request HEX (bytes of a head): the request for an upstream in hexadecimal, between
// the words `<`, `|` and `>`; answer HEX: status, size of the body, and what leaves, in hexadecimal. Or "none".

#include "talk.h"

#include "../../modules/http/httppass.c"

static void request(const uint8_t *head, size_t size) {
    httppass_words_t words = {{(const uint8_t *)"<", (const uint8_t *)"|", (const uint8_t *)">"}, {1, 1, 1}};
    uint8_t *out = malloc(httppass_room(size, &words)); // as small as it may be
    size_t used = httppass_request(head, size, &words, out);
    if (used == 0) {
        printf("none\n");
    } else {
        talk_print_bytes(out, used);
    }
    free(out);
}

static void answer(const uint8_t *data, size_t size) {
    httppass_answer_t answer;
    if (!httppass_answer(data, size, &answer)) {
        printf("none\n");
        return;
    }
    uint8_t *out = malloc(size);
    size_t used = 0, at = 0;
    for (unsigned i = 0; i < answer.cuts; i++) {
        memcpy(out + used, data + at, answer.cut[i].from - at);
        used += answer.cut[i].from - at;
        at = answer.cut[i].to;
    }
    memcpy(out + used, data + at, size - at);
    printf("%u %zu ", answer.status, answer.body);
    talk_print_bytes(out, used + size - at);
    free(out);
}

static void command(const talk_t *t) {
    size_t size;
    uint8_t *data = talk_bytes(t, 1, &size); // ends where the block does
    (strcmp(t->word[0], "request") == 0 ? request : answer)(data, size);
    free(data);
}

int main(void) { return talk(command); }
