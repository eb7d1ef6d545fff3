// SPDX-License-Identifier: MIT
// Heads of HTTP requests and answers, as the page cache and the proxy read them. modules/http

#include <string.h>

#include "httpkey.h"
#include "httppass.h"
#include "world.h"

static void request(const uint8_t *data, size_t size) {
    const httppass_words_t words = {{(const uint8_t *)"<", (const uint8_t *)"|", (const uint8_t *)">"}, {1, 1, 1}};
    size_t room = httppass_room(size, &words);
    uint8_t *out = in_space(room);
    size_t used = httppass_request(data, size, &words, out);
    FUZZ_CHECK(used <= room);
    FUZZ_CHECK(used == 0 || (out[0] == 'G' && out[used - 1] == '>')); // the last of the words
}

static void answer(const uint8_t *data, size_t size) {
    httppass_answer_t a = {0};
    if (!httppass_answer(data, size, &a)) {
        return;
    }
    size_t last = 0;
    FUZZ_CHECK(a.body < size && a.cuts <= HTTPPASS_CUTS && a.status >= 100 && a.status <= 999);
    for (unsigned i = 0; i < a.cuts; i++) {
        FUZZ_CHECK(a.cut[i].from >= last && a.cut[i].to >= a.cut[i].from && a.cut[i].to <= size - a.body);
        last = a.cut[i].to;
    }
}

void fuzz_one(void) {
    size_t size;
    uint8_t what = in_u8(), *data = in_rest(4000, &size);
    if (what % 3 == 0) {
        FUZZ_CHECK(httpkey_make(data, size, in_space(HTTPKEY_MAX)) <= HTTPKEY_MAX);
    } else if (what % 3 == 1) {
        request(data, size);
    } else {
        answer(data, size);
    }
}
