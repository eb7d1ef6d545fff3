// SPDX-License-Identifier: MIT
// resp.h's reader. A length has nine digits at most here, so that no sum of two can overflow. Owns nothing. Not here:
// what is wrong with a command (images/redis/resp.py says it). Context: main loop.

#include "resp.h"

enum { DIGITS_MAX = 9 };

// The number of a head such as "$12\r\n" at *at, which goes behind it. False: there is none. As in Redis it has no
// zeros in front: one number has one form.
static int number_of_head(const uint8_t *data, size_t size, size_t *at, uint8_t letter, size_t *number) {
    size_t i = *at;
    if (i >= size || data[i++] != letter) {
        return 0;
    }
    size_t first = i;
    size_t n = 0;
    while (i < size && i - first <= DIGITS_MAX && (uint8_t)(data[i] - '0') < 10) {
        n = n * 10 + (data[i++] - '0');
    }
    if (i == first || (data[first] == '0' && i - first > 1) || i - first > DIGITS_MAX || size - i < 2 ||
        data[i] != '\r' || data[i + 1] != '\n') {
        return 0;
    }
    *at = i + 2;
    *number = n;
    return 1;
}

size_t resp_whole(const uint8_t *data, size_t size, size_t at, size_t *len) {
    if (!number_of_head(data, size, &at, '$', len) || *len > RESP_BULK_MAX || size - at < *len + 2) {
        return 0;
    }
    return at;
}

size_t resp_command(const uint8_t *data, size_t size, size_t at, size_t *count) {
    size_t n;
    if (!number_of_head(data, size, &at, '*', &n) || n == 0 || n > RESP_COUNT_MAX) {
        return 0;
    }
    *count = n;
    for (; n > 0; n--) {
        size_t len;
        at = resp_whole(data, size, at, &len);
        if (at == 0) {
            return 0;
        }
        at += len + 2;
    }
    return at;
}

size_t resp_argument(const uint8_t *data, size_t *at) {
    size_t i = *at + 1;
    size_t n = 0;
    while (data[i] != '\r') {
        n = n * 10 + (data[i++] - '0');
    }
    *at = i + 2;
    return n;
}

size_t resp_head(char *to, char letter, int64_t number) {
    char digits[20];
    size_t count = 0;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    size_t n = 0;
    to[n++] = letter;
    if (number < 0) {
        to[n++] = '-';
    }
    while (count > 0) {
        to[n++] = digits[--count];
    }
    to[n++] = '\r';
    to[n++] = '\n';
    return n;
}
