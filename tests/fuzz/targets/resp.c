// SPDX-License-Identifier: MIT
// Commands of Redis' protocol in a buffer that may hold half of one. modules/resp/resp.c

#include "resp.h"
#include "world.h"

void fuzz_one(void) {
    size_t size, count = 0, len = 0, at = 0;
    size_t whole_at = in_u8();
    uint8_t *data = in_rest(4000, &size);
    if (whole_at < size) {
        size_t first = resp_whole(data, size, whole_at, &len);
        FUZZ_CHECK(first == 0 || (first > whole_at && first + len + 2 <= size));
    }
    for (size_t end; at < size && (end = resp_command(data, size, at, &count)) != 0; at = end) {
        FUZZ_CHECK(end > at && end <= size && count > 0 && count <= RESP_COUNT_MAX);
        size_t i = at + 1;
        while (data[i++] != '\n') {
        }
        for (; count > 0; count--) {
            len = resp_argument(data, &i);
            FUZZ_CHECK(i + len + 2 <= end);
            i += len + 2;
        }
        FUZZ_CHECK(i == end);
    }
}
