// SPDX-License-Identifier: MIT
// Reads a head once, byte by byte. What is rare but allowed (a target in absolute form, HTTP/1.0) is left to
// others, so that all this accepts is accepted by any careful parser, in one way. A key holds: the method's first
// letter, the path as sent, and for each field of `deciding` a line feed, the field's number, and its value.
// Owns nothing. Not here: keys' use. Context: main loop.

#include "httpkey.h"

#include "httpscan.h"

enum { TARGET_MAX = 2048, FIELDS_MAX = 64, NAME_MAX = 19 };

// Fields on which the answer of a file, or the fate of the connection, depends. None is longer than NAME_MAX.
static const char *const deciding[] = {
    "host",
    "connection",
    "accept-encoding",
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-range",
    "range",
    "expect",
    "if-unmodified-since",
    "upgrade",
    "authorization",
    "transfer-encoding",
    "content-length",
    "te",
};
_Static_assert(sizeof("if-unmodified-since") - 1 == NAME_MAX, "the longest of them");

typedef struct {
    httpscan_t in;
    uint8_t *key;
    size_t used;
} scan_t;

static bool add(scan_t *s, const uint8_t *data, size_t size) {
    if (size > HTTPKEY_MAX - s->used) {
        return false;
    }
    memcpy(s->key + s->used, data, size);
    s->used += size;
    return true;
}

// The path goes into the key, a query does not.
static bool scan_target(scan_t *s) {
    const uint8_t *start = s->in.at, *path_end = NULL;
    while (s->in.at < s->in.end && *s->in.at > ' ' && *s->in.at < 0x7f && *s->in.at != '#') {
        if (*s->in.at == '?' && path_end == NULL) {
            path_end = s->in.at;
        }
        s->in.at++;
    }
    if (s->in.at == start || *start != '/' || s->in.at - start > TARGET_MAX) {
        return false;
    }
    return add(s, start, (size_t)((path_end != NULL ? path_end : s->in.at) - start));
}

// The number of a field in `deciding`, -1 if it is not there. The name is in lower case.
static int number_of(const char *name, size_t size) {
    for (unsigned i = 0; i < sizeof(deciding) / sizeof(deciding[0]); i++) {
        if (deciding[i][0] == name[0] && strlen(deciding[i]) == size && memcmp(deciding[i], name, size) == 0) {
            return (int)i;
        }
    }
    return -1;
}

// A field's name with its colon. False: it is no name. number: see number_of.
static bool scan_name(scan_t *s, int *number) {
    char name[NAME_MAX];
    size_t size = 0;
    for (; s->in.at < s->in.end && httpscan_is_token(*s->in.at); s->in.at++, size++) {
        if (size < NAME_MAX) {
            name[size] = (char)(*s->in.at | (*s->in.at >= 'A' && *s->in.at <= 'Z' ? 0x20 : 0));
        }
    }
    *number = size > 0 && size <= NAME_MAX ? number_of(name, size) : -1;
    return size > 0 && s->in.at < s->in.end && *s->in.at++ == ':';
}

// One field with the end of its line.
static bool scan_field(scan_t *s) {
    int number;
    if (!scan_name(s, &number)) {
        return false;
    }
    const uint8_t *value;
    size_t size;
    if (!httpscan_value(&s->in, &value, &size)) {
        return false;
    }
    if (number >= 0) {
        uint8_t mark[2] = {'\n', (uint8_t)('A' + number)};
        return add(s, mark, sizeof(mark)) && add(s, value, size);
    }
    return true;
}

size_t httpkey_make(const uint8_t *head, size_t size, uint8_t key[HTTPKEY_MAX]) {
    scan_t s = {.in = {head, head + size}, .key = key, .used = 0};
    if (size == 0 || !add(&s, head, 1) || !(httpscan_take(&s.in, "GET ") || httpscan_take(&s.in, "HEAD "))) {
        return 0;
    }
    if (!scan_target(&s) || !httpscan_take(&s.in, " HTTP/1.1\r\n")) {
        return 0;
    }
    for (unsigned fields = 0; fields <= FIELDS_MAX; fields++) {
        if (httpscan_take(&s.in, "\r\n")) {
            return s.in.at == s.in.end ? s.used : 0;
        }
        if (!scan_field(&s)) {
            return 0;
        }
    }
    return 0;
}
