// SPDX-License-Identifier: MIT
// Sessions with images/web: files, pieces of them, whether they have changed, notes that are made and deleted; several
// requests in a row or ahead of their answers. Each byte of an answer is known before it comes.
// Owns what each session has asked. Not here: connections (client.c). Context: a client's node.

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

enum { FILES = 8, BATCH = 3, OPS = 10, ROOM = 2048, HEAD_MAX = 1024, TEXT_MAX = 500, TAG_MAX = 64, PIECE = 4096 };
typedef enum { WHOLE, HEAD, RANGE, CACHED, NOTE, GONE, MISSING, WANTS } want_t;

typedef struct {
    want_t what;
    unsigned file;
    uint32_t from, len; // bytes of a file that come
} ask_t;

typedef struct {
    ask_t asks[BATCH];
    unsigned count, answered;
    uint32_t req_len, req_sent;
    char req[ROOM];
    uint32_t head_len, body_len, body_got; // body_len: only when the head is whole
    bool in_body;
    char head[HEAD_MAX];
    char body[TEXT_MAX + 40]; // a note's
    char text[TEXT_MAX + 1];  // of the note that was sent
    unsigned note;            // that is there, and is to be deleted; 0: none
    char tag[FILES][TAG_MAX]; // "": not known
} pages_t;

static pages_t each[CLIENT_SESSIONS];

// What simbuild.py has made.
static uint32_t file_size(unsigned file) { return file * file * file * 97; }
static uint8_t file_byte(unsigned file, uint32_t at) { return sim_byte(SIM_FILE_NAME + file, at); }

// ---- requests -----------------------------------------------------------------------------------

static void put(pages_t *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(pages_t *p, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(p->req + p->req_len, ROOM - p->req_len, fmt, ap);
    va_end(ap);
    hal_assert(n > 0 && (unsigned)n < ROOM - p->req_len);
    p->req_len += (uint32_t)n;
}

static void put_note(pages_t *p) {
    unsigned len = 1 + sim_below(TEXT_MAX);
    for (unsigned i = 0; i < len; i++) {
        p->text[i] = (char)('a' + sim_below(26));
    }
    p->text[len] = '\0';
    put(p, "POST /api/notes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %u\r\n\r\n",
        len + 11);
    put(p, "{\"text\":\"%s\"}", p->text);
}

static void put_ask(pages_t *p, ask_t *a) {
    if (a->what == NOTE) {
        put_note(p);
        return;
    }
    if (a->what == GONE) {
        put(p, "DELETE /api/notes/%u HTTP/1.1\r\nHost: a\r\n\r\n", p->note);
        return;
    }
    if (a->what == MISSING) {
        put(p, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
        return;
    }
    put(p, "%s /%u.bin HTTP/1.1\r\nHost: a\r\n", a->what == HEAD ? "HEAD" : "GET", a->file);
    if (a->what == RANGE) {
        put(p, "Range: bytes=%u-%u\r\n", a->from, a->from + a->len - 1);
    } else if (a->what == CACHED) {
        put(p, "If-None-Match: %s\r\n", p->tag[a->file]);
    }
    put(p, "\r\n");
}

static void ask(pages_t *p) {
    p->req_len = p->req_sent = p->answered = 0;
    p->count = 1 + sim_below(BATCH);
    for (unsigned i = 0; i < p->count; i++) {
        ask_t *a = &p->asks[i];
        *a = (ask_t){(want_t)sim_below(WANTS), sim_below(FILES), 0, 0};
        a->len = file_size(a->file);
        if (i == 0 && p->note != 0) {
            a->what = GONE;
        } else if (a->what == GONE || (a->what == CACHED && p->tag[a->file][0] == '\0') ||
                   (a->what == RANGE && a->len == 0)) {
            a->what = WHOLE;
        } else if (a->what == NOTE) {
            p->count = i + 1; // what it is called is not known before
        } else if (a->what == RANGE) {
            a->from = sim_below(a->len);
            a->len = 1 + sim_below(a->len - a->from);
        }
        put_ask(p, a);
    }
}

void pages_begin(session_t *c) {
    pages_t *p = &each[c->number];
    p->count = p->head_len = 0;
    p->in_body = false;
    p->note = 0; // another start of the server knows nothing of it
}

// ---- answers ------------------------------------------------------------------------------------

// The value of a header, "" where there is none.
static void header(const pages_t *p, const char *name, char *out, size_t size) {
    const char *at = strstr(p->head, name);
    out[0] = '\0';
    if (at != NULL) {
        at += strlen(name);
        size_t len = strcspn(at, "\r");
        snprintf(out, size, "%.*s", (int)len, at);
    }
}

// The head is whole: it is the one that must come. False: the server had no memory for a better one.
static bool judge_head(session_t *c, pages_t *p) {
    static const unsigned statuses[] = {200, 200, 206, 304, 201, 204, 404};
    const ask_t *a = &p->asks[p->answered];
    char length[20], range[60], wanted[60];
    unsigned status = (unsigned)atoi(p->head + sizeof "HTTP/1.1");
    if (status >= 500 && sim_start->may_fail && !client_calm(c)) {
        return false;
    }
    if (strncmp(p->head, "HTTP/1.1 ", 9) != 0 || status != statuses[a->what]) {
        sim_broken("client %u: asked for %u of file %u, answered %.40s", sim_start->index, a->what, a->file, p->head);
    }
    header(p, "\r\nContent-Length: ", length, sizeof length);
    p->body_len = (uint32_t)atoi(length);
    bool file = a->what == WHOLE || a->what == HEAD || a->what == RANGE;
    if (file && (length[0] == '\0' || p->body_len != a->len)) {
        sim_broken("client %u: %u bytes of file %u are to come, not %s", sim_start->index, a->len, a->file, length);
    }
    if (a->what == RANGE) {
        snprintf(wanted, sizeof wanted, "bytes %u-%u/%u", a->from, a->from + a->len - 1, file_size(a->file));
        header(p, "\r\nContent-Range: ", range, sizeof range);
        if (strcmp(range, wanted) != 0) {
            sim_broken("client %u: asked for %s, answered %s", sim_start->index, wanted, range);
        }
    }
    if (a->what == NOTE && p->body_len >= sizeof p->body) {
        sim_broken("client %u: a note of %u bytes", sim_start->index, p->body_len);
    }
    if (a->what == WHOLE) {
        header(p, "\r\nETag: ", p->tag[a->file], TAG_MAX);
    }
    p->body_len = a->what == HEAD || a->what == CACHED || a->what == GONE ? 0 : p->body_len;
    p->body_got = 0;
    p->in_body = true;
    return true;
}

static void judge_body(pages_t *p, const uint8_t *data, uint32_t len) {
    const ask_t *a = &p->asks[p->answered];
    for (uint32_t i = 0; i < len; i++) {
        uint32_t at = p->body_got + i;
        if (a->what == NOTE) {
            p->body[at] = (char)data[i];
        } else if (a->what != MISSING && data[i] != file_byte(a->file, a->from + at)) {
            sim_broken("client %u: byte %u of file %u is wrong", sim_start->index, a->from + at, a->file);
        }
    }
    p->body_got += len;
}

static void judge_end(pages_t *p) {
    char wanted[sizeof p->body];
    const ask_t *a = &p->asks[p->answered];
    if (a->what == GONE) {
        p->note = 0;
    } else if (a->what == NOTE) {
        p->body[p->body_len] = '\0';
        const char *id = strstr(p->body, "\"id\": ");
        p->note = id != NULL ? (unsigned)atoi(id + 6) : 0;
        snprintf(wanted, sizeof wanted, "\"text\": \"%s\"", p->text);
        if (p->note == 0 || strstr(p->body, wanted) == NULL) {
            sim_broken("client %u: a note came back as %.100s", sim_start->index, p->body);
        }
    }
}

// Take what came. False: the server had no memory.
static bool take(session_t *c, pages_t *p, const uint8_t *data, uint32_t len) {
    uint32_t at = 0;
    while (at < len || (p->in_body && p->body_got == p->body_len)) {
        if (p->answered == p->count) {
            sim_broken("client %u: %u bytes that nobody asked for", sim_start->index, len - at);
        }
        if (p->in_body) {
            uint32_t rest = p->body_len - p->body_got, n = len - at < rest ? len - at : rest;
            judge_body(p, data + at, n);
            at += n;
            if (p->body_got == p->body_len) {
                judge_end(p);
                p->in_body = false;
                p->head_len = 0;
                p->answered++;
                c->ops++;
            }
            continue;
        }
        if (p->head_len == HEAD_MAX - 1) {
            sim_broken("client %u: a head without an end", sim_start->index);
        }
        p->head[p->head_len++] = (char)data[at++];
        if (p->head_len >= 4 && memcmp(p->head + p->head_len - 4, "\r\n\r\n", 4) == 0) {
            p->head[p->head_len] = '\0';
            if (!judge_head(c, p)) {
                return false;
            }
        }
    }
    return true;
}

bool pages_step(session_t *c) {
    static uint8_t piece[PIECE];
    pages_t *p = &each[c->number];
    bool worked = false;
    if (p->answered == p->count || p->count == 0) {
        if (c->ops >= OPS && p->note == 0) {
            client_finished(c);
            return true;
        }
        ask(p);
    }
    if (p->req_sent < p->req_len) {
        uint32_t most = p->req_len - p->req_sent, n = sim_below(3) > 0 ? most : 1 + sim_below(most);
        ssize_t sent = sock_send(c->s, p->req + p->req_sent, n, NULL);
        if (sent < 0 && sent != -EAGAIN) {
            client_failed(c, (int)sent);
            return true;
        }
        worked = sent > 0;
        p->req_sent += sent > 0 ? (uint32_t)sent : 0;
    }
    ssize_t got = sock_recv(c->s, piece, 1 + sim_below(PIECE), NULL);
    if (got == -EAGAIN) {
        return worked;
    }
    if (got <= 0) {
        client_failed(c, got == 0 ? -EPIPE : (int)got);
        return true;
    }
    if (!take(c, p, piece, (uint32_t)got)) {
        client_failed(c, -ENOMEM);
    }
    return true;
}
