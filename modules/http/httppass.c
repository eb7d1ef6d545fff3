// SPDX-License-Identifier: MIT
// Reads a head once. What it passes is a subset of what images/web's parsers pass, with the same meaning: tests hold it
// to that. Owns nothing. Not here: everything that is not plain. Context: main loop.

#include "httppass.h"

#include "httpscan.h"

enum {
    TARGET_MAX = 2048,
    HEAD_MAX = 8192,
    REQUEST_FIELDS_MAX = 64,
    ANSWER_FIELDS_MAX = 100,
    NAME_MAX = 19,
    DIGITS_MAX = 15
};

// What becomes of a field. OTHER: it is passed on as it is.
typedef enum { OTHER, DROP, STOP, HOST, COOKIE, CONNECTION, LENGTH, DATE } kind_t;

typedef struct {
    const char *name;
    uint8_t request, answer; // kind_t
} field_t;

static const field_t fields[] = {
    {"host", HOST, OTHER},
    {"cookie", COOKIE, OTHER},
    {"connection", CONNECTION, CONNECTION},
    {"content-length", STOP, LENGTH},
    {"date", OTHER, DATE},
    {"transfer-encoding", STOP, STOP},
    {"upgrade", STOP, STOP},
    {"via", STOP, OTHER},
    {"expect", STOP, OTHER},
    {"te", DROP, STOP},
    {"trailer", DROP, STOP},
    {"keep-alive", DROP, DROP},
    {"proxy-connection", DROP, STOP},
    {"proxy-authorization", DROP, OTHER},
    {"forwarded", DROP, OTHER},
    {"x-forwarded-for", DROP, OTHER},
    {"x-forwarded-host", DROP, OTHER},
    {"x-forwarded-proto", DROP, OTHER},
};
_Static_assert(sizeof("proxy-authorization") - 1 == NAME_MAX, "the longest of them");

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; }

// A name in lower case in fields[], NULL if it is not there.
static const field_t *field_of(const uint8_t *name, size_t size) {
    for (unsigned i = 0; size <= NAME_MAX && i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *known = fields[i].name;
        if (known[0] == name[0] && strlen(known) == size && memcmp(known, name, size) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

static bool is_keep_alive(const uint8_t *value, size_t size) {
    static const char wanted[] = "keep-alive";
    if (size != sizeof(wanted) - 1) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (lower(value[i]) != (uint8_t)wanted[i]) {
            return false;
        }
    }
    return true;
}

// ---- a request ---------------------------------------------------------------------------------

typedef struct {
    httpscan_t in;
    uint8_t *out;
    const uint8_t *host;
    size_t host_size;
    unsigned cookies;
} request_t;

static void put(request_t *r, const void *data, size_t size) {
    memcpy(r->out, data, size);
    r->out += size;
}

static int hex(uint8_t c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// What is percent-encoded in a path, and could be taken for another path by who decodes it, is not plain.
static bool is_plain_escape(const uint8_t *at, const uint8_t *end) {
    int high = end - at > 2 ? hex(at[1]) : -1, low = high < 0 ? -1 : hex(at[2]);
    int c = low < 0 ? 0 : high << 4 | low;
    return c > 0 && c < 0x80 && c != '.' && c != '/' && c != '\\';
}

// Whether a segment of a path that begins here is `.` or `..`.
static bool is_dots(const uint8_t *at, const uint8_t *end) {
    const uint8_t *start = at;
    while (at < end && *at == '.') {
        at++;
    }
    return at > start && at - start <= 2 && (at == end || *at == '/' || *at == '?' || *at == ' ');
}

static bool pass_target(request_t *r) {
    httpscan_t *s = &r->in;
    const uint8_t *start = s->at;
    bool in_path = true;
    for (; s->at < s->end && *s->at > ' ' && *s->at < 0x7f && *s->at != '#'; s->at++) {
        uint8_t c = *s->at;
        if (c == '?') {
            in_path = false;
        } else if (in_path && ((c == '/' && is_dots(s->at + 1, s->end)) || c == '\\' ||
                               (c == '%' && !is_plain_escape(s->at, s->end)))) {
            return false;
        }
    }
    size_t size = (size_t)(s->at - start);
    if (size == 0 || *start != '/' || size > TARGET_MAX) {
        return false;
    }
    put(r, start, size);
    return true;
}

// A name or an IPv4 address, perhaps with a port.
static bool is_plain_host(const uint8_t *value, size_t size) {
    size_t at = 0;
    while (at < size && (hex(value[at]) >= 0 || (lower(value[at]) > 'f' && lower(value[at]) <= 'z') ||
                         value[at] == '-' || value[at] == '.')) {
        at++;
    }
    if (at == 0 || at == size) {
        return at > 0;
    }
    size_t digits = 0;
    if (value[at++] == ':') {
        while (at < size && value[at] >= '0' && value[at] <= '9') {
            at++, digits++;
        }
    }
    return digits > 0 && at == size;
}

static bool pass_field(request_t *r) {
    httpscan_t *s = &r->in;
    uint8_t *line = r->out;
    for (; s->at < s->end && httpscan_is_token(*s->at); s->at++) {
        *r->out++ = lower(*s->at);
    }
    size_t name_size = (size_t)(r->out - line);
    const uint8_t *value;
    size_t size;
    if (name_size == 0 || !httpscan_take(s, ":") || !httpscan_value(s, &value, &size)) {
        return false;
    }
    const field_t *known = field_of(line, name_size);
    switch (known == NULL ? OTHER : known->request) {
        case STOP:
            return false;
        case CONNECTION:
            r->out = line;
            return is_keep_alive(value, size);
        case DROP:
            r->out = line;
            return true;
        case HOST:
            if (r->host != NULL || !is_plain_host(value, size)) {
                return false;
            }
            r->host = value;
            r->host_size = size;
            break;
        case COOKIE: // more than one would have to be joined
            if (r->cookies++ > 0) {
                return false;
            }
            break;
        default:
            break;
    }
    put(r, ": ", 2);
    put(r, value, size);
    put(r, "\r\n", 2);
    return true;
}

size_t httppass_room(size_t size, const httppass_words_t *words) {
    return size + REQUEST_FIELDS_MAX + 2 * size + 2 + words->size[0] + words->size[1] + words->size[2];
}

size_t httppass_request(const uint8_t *head, size_t size, const httppass_words_t *words, uint8_t *out) {
    request_t r = {.in = {head, head + size}, .out = out};
    if (size > HEAD_MAX || !httpscan_take(&r.in, "GET ")) {
        return 0;
    }
    put(&r, "GET ", 4);
    if (!pass_target(&r) || !httpscan_take(&r.in, " HTTP/1.1\r\n")) {
        return 0;
    }
    put(&r, " HTTP/1.1\r\n", 11);
    for (unsigned count = 0; !httpscan_take(&r.in, "\r\n"); count++) {
        if (count == REQUEST_FIELDS_MAX || !pass_field(&r)) {
            return 0;
        }
    }
    if (r.in.at != r.in.end || r.host == NULL) {
        return 0;
    }
    bool quoted = memchr(r.host, ':', r.host_size) != NULL;
    put(&r, words->data[0], words->size[0]);
    put(&r, r.host, r.host_size);
    put(&r, words->data[1], words->size[1]);
    put(&r, "\"", quoted);
    put(&r, r.host, r.host_size);
    put(&r, "\"", quoted);
    put(&r, words->data[2], words->size[2]);
    return (size_t)(r.out - out);
}

// ---- an answer ---------------------------------------------------------------------------------

// "HTTP/1.1 200 OK": a status whose answers to a GET have a body.
static bool read_status(httpscan_t *s, unsigned *status) {
    if (!httpscan_take(s, "HTTP/1.1 ") || s->end - s->at < 4 || s->at[3] != ' ') {
        return false;
    }
    const uint8_t *code = s->at;
    *status = 0;
    for (; s->at < code + 3; s->at++) {
        if (*s->at < '0' || *s->at > '9') {
            return false;
        }
        *status = *status * 10 + *s->at - '0';
    }
    const uint8_t *reason;
    size_t size;
    s->at++;
    return *status >= 200 && *status < 600 && *status != 204 && *status != 304 && httpscan_value(s, &reason, &size);
}

static bool read_length(const uint8_t *value, size_t size, size_t *length) {
    *length = 0;
    for (size_t i = 0; i < size; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return false;
        }
        *length = *length * 10 + value[i] - '0';
    }
    return size > 0 && size <= DIGITS_MAX;
}

typedef struct {
    httpscan_t in;
    const uint8_t *start;
    unsigned lengths, dates;
} reading_t;

static bool read_field(reading_t *r, httppass_answer_t *answer) {
    httpscan_t *s = &r->in;
    const uint8_t *line = s->at;
    uint8_t name[NAME_MAX];
    size_t name_size = 0;
    for (; s->at < s->end && httpscan_is_token(*s->at); s->at++, name_size++) {
        if (name_size < NAME_MAX) {
            name[name_size] = lower(*s->at);
        }
    }
    const uint8_t *value;
    size_t size;
    if (name_size == 0 || !httpscan_take(s, ":") || !httpscan_value(s, &value, &size)) {
        return false;
    }
    const field_t *known = field_of(name, name_size);
    switch (known == NULL ? OTHER : known->answer) {
        case STOP:
            return false;
        case LENGTH:
            return r->lengths++ == 0 && read_length(value, size, &answer->body);
        case DATE:
            r->dates++;
            return true;
        case CONNECTION:
            if (!is_keep_alive(value, size)) {
                return false;
            }
            break;
        case DROP:
            break;
        default:
            return true;
    }
    if (answer->cuts == HTTPPASS_CUTS) {
        return false;
    }
    answer->cut[answer->cuts].from = (size_t)(line - r->start);
    answer->cut[answer->cuts++].to = (size_t)(s->at - r->start);
    return true;
}

bool httppass_answer(const uint8_t *data, size_t size, httppass_answer_t *answer) {
    reading_t r = {.in = {data, data + size}, .start = data};
    answer->cuts = 0;
    if (!read_status(&r.in, &answer->status)) {
        return false;
    }
    for (unsigned count = 0; !httpscan_take(&r.in, "\r\n"); count++) {
        if (count == ANSWER_FIELDS_MAX || !read_field(&r, answer)) {
            return false;
        }
    }
    return r.lengths == 1 && r.dates > 0 && answer->body == (size_t)(r.in.end - r.in.at);
}
