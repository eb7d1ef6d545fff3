// SPDX-License-Identifier: MIT
// A copy of a running VM becomes another machine: what the host says about it, read and told to all parts. Owns
// nothing: the list is the linker's. Not here: what each part does. Context: main loop; an image that does not copy
// itself holds none of it.

#include <string.h>

#include "hal.h"

extern const hal_copied_t __start_hal_copied[], __stop_hal_copied[];

enum { HEX_DIGITS = 2, COLON = 1, HAS_PID = 1, HAS_PPID = 2, HAS_SEED = 4, HAS_ALL = 7 };

// The value of a line, or a part of it.
typedef struct {
    const char *at;
    size_t len;
} text_t;

static bool is(text_t t, const char *name) { return t.len == strlen(name) && memcmp(t.at, name, t.len) == 0; }

static bool read_number(text_t t, uint64_t max, uint64_t *out) {
    *out = 0;
    for (size_t i = 0; i < t.len; i++) {
        unsigned digit = (unsigned char)t.at[i] - (unsigned)'0';
        if (digit > 9 || *out > (max - digit) / 10) {
            return false;
        }
        *out = *out * 10 + digit;
    }
    return t.len > 0;
}

static int nibble(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

// Exactly n bytes; gap: characters between two of them, which are colons.
static bool read_hex(text_t t, uint8_t *out, size_t n, size_t gap) {
    if (t.len != n * (HEX_DIGITS + gap) - gap) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char *p = t.at + i * (HEX_DIGITS + gap);
        int high = nibble(p[0]), low = nibble(p[1]);
        if (high < 0 || low < 0 || (gap > 0 && i + 1 < n && p[HEX_DIGITS] != ':')) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_word(text_t t, char *out) {
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] <= ' ' || t.at[i] > '~') {
            return false;
        }
    }
    if (t.len == 0 || t.len > HAL_WORD_MAX) {
        return false;
    }
    memcpy(out, t.at, t.len);
    out[t.len] = '\0';
    return true;
}

static bool read_pid(text_t t, int32_t *out) {
    uint64_t n;
    bool ok = read_number(t, INT32_MAX, &n);
    *out = (int32_t)n;
    return ok;
}

static bool read_mac(text_t t, uint8_t *out) {
    static const uint8_t none[HAL_MAC_LEN];
    return read_hex(t, out, HAL_MAC_LEN, COLON) && (out[0] & 1) == 0 && memcmp(out, none, HAL_MAC_LEN) != 0;
}

// A key with a card's number behind it.
static bool read_card(hal_identity_t *id, text_t key, text_t value) {
    unsigned n = (unsigned char)key.at[key.len - 1] - (unsigned)'0';
    key.len--;
    bool mac = is(key, "mac"), ip6 = is(key, "ip6");
    if (!mac && !ip6 && !is(key, "ip")) {
        return true; // not ours
    }
    if (n >= HAL_CARDS_MAX) {
        return false;
    }
    id->card[n].has_mac |= mac;
    return mac ? read_mac(value, id->card[n].mac) : read_word(value, ip6 ? id->card[n].ip6 : id->card[n].ip);
}

// Returns which of HAS_ALL the line brought, -EPROTO where it is not as it must be.
static int read_line(hal_identity_t *id, text_t key, text_t value) {
    bool ok;
    int has = 0;
    if (is(key, "pid")) {
        ok = read_pid(value, &id->pid) && id->pid > 0;
        has = HAS_PID;
    } else if (is(key, "ppid")) {
        ok = read_pid(value, &id->ppid);
        has = HAS_PPID;
    } else if (is(key, "seed")) {
        ok = read_hex(value, id->seed, HAL_SEED_LEN, 0);
        has = HAS_SEED;
    } else if (is(key, "wall")) {
        ok = read_number(value, INT64_MAX, &id->wall_ns);
    } else if (is(key, "name")) {
        ok = read_word(value, id->name);
    } else {
        ok = read_card(id, key, value);
    }
    return ok ? has : -EPROTO;
}

int hal_copied_read(hal_identity_t *id, const char *text, size_t len) {
    int seen = 0;
    memset(id, 0, sizeof(*id));
    for (const char *end = text + len; text < end;) {
        const char *line = text, *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop != NULL ? stop : end;
        const char *equals = memchr(line, '=', (size_t)(stop - line));
        if (equals == NULL || equals == line) {
            return -EPROTO;
        }
        text_t key = {line, (size_t)(equals - line)}, value = {equals + 1, (size_t)(stop - equals - 1)};
        int has = read_line(id, key, value);
        if (has < 0) {
            return has;
        }
        seen |= has;
        text = stop < end ? stop + 1 : end;
    }
    return seen == HAS_ALL ? 0 : -EPROTO;
}

void hal_copied_became(const hal_identity_t *id) {
    for (unsigned when = 0; when < HAL_COPIED_LAST; when++) {
        for (const hal_copied_t *c = __start_hal_copied; c < __stop_hal_copied; c++) {
            if (c->when == when) {
                c->became(id);
            }
        }
    }
}
