// SPDX-License-Identifier: MIT
// What readers of HTTP heads have in common (RFC 9110, section 5.6): a place in a head, tokens, blanks. Each function
// moves the place only over what it takes. Owns nothing. Context: main loop.

#ifndef FLOE_HTTPSCAN_H
#define FLOE_HTTPSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} httpscan_t;

static inline bool httpscan_is_token(uint8_t c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-') {
        return true;
    }
    return c > ' ' && c < 0x7f && strchr("!#$%&'*+.^_`|~", c) != NULL;
}

static inline bool httpscan_is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

static inline bool httpscan_take(httpscan_t *s, const char *text) {
    size_t size = strlen(text);
    if ((size_t)(s->end - s->at) < size || memcmp(s->at, text, size) != 0) {
        return false;
    }
    s->at += size;
    return true;
}

// A field's value with the end of its line; value and its size without blanks around it.
static inline bool httpscan_value(httpscan_t *s, const uint8_t **value, size_t *size) {
    while (s->at < s->end && httpscan_is_blank(*s->at)) {
        s->at++;
    }
    const uint8_t *last = *value = s->at;
    for (; s->at < s->end && (*s->at >= ' ' || *s->at == '\t') && *s->at != 0x7f; s->at++) {
        if (!httpscan_is_blank(*s->at)) {
            last = s->at + 1;
        }
    }
    *size = (size_t)(last - *value);
    return httpscan_take(s, "\r\n");
}

#endif
