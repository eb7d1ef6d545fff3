// SPDX-License-Identifier: MIT
// backend.h over the fake Xen of tests/c/support. Owns nothing. Context: libFuzzer.

#include "backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 160 };

static const char *path_of(const backend_t *b, bool front, const char *name) {
    static char path[4][PATH];
    static unsigned k;
    const char *side = front ? "1/device/" : "0/backend/";
    k = (k + 1) % 4;
    snprintf(path[k], PATH, "/local/domain/%s%s/%s%u%s%s", side, b->kind, front ? "" : "1/", b->number,
             name[0] != '\0' ? "/" : "", name);
    return path[k];
}

void backend_set(const backend_t *b, bool front, const char *name, const char *value) {
    fake_xs_set(path_of(b, front, name), value);
}

void backend_new(const backend_t *b) {
    backend_set(b, true, "backend", path_of(b, false, ""));
    backend_set(b, true, "backend-id", "0");
    backend_set(b, true, "state", "1");
    backend_set(b, false, "frontend", path_of(b, true, ""));
    backend_set(b, false, "frontend-id", "1");
    backend_set(b, false, "online", "1");
    backend_set(b, false, "state", "2");
    fake_xs_react(path_of(b, true, "state"), "3", path_of(b, false, "state"), "4");
    fake_xs_react(path_of(b, true, "state"), "4", path_of(b, false, "state"), "4");
    fake_xs_react(path_of(b, true, "state"), "5", path_of(b, false, "state"), "5");
    fake_xs_react(path_of(b, true, "state"), "6", path_of(b, false, "state"), "6");
}

unsigned backend_number(const backend_t *b, const char *name) {
    const char *text = fake_xs_get(path_of(b, true, name));
    return text == NULL ? 0 : (unsigned)strtoul(text, NULL, 10);
}

uint8_t *backend_ring(const backend_t *b, const char *name) {
    return fake_grant_page(backend_number(b, name), 0, true);
}

void backend_lies(const backend_t *b, const char *const *names, unsigned count) {
    static const char *const values[] = {"0", "1", "2",  "3",  "4", "5", "6",
                                         "7", "8", "99", "-1", "",  "x", "4294967296"};
    const char *name = names[in_below(count)];
    bool front = in_one_of(4);
    unsigned how = in_below(32);
    if (how == 31) {
        fake_xs_remove(path_of(b, front, name));
    } else if (how < sizeof values / sizeof values[0]) {
        backend_set(b, front, name, values[how]);
    } else {
        size_t len;
        char *text = (char *)in_bytes(80, &len);
        if (len > 0) {
            text[len - 1] = '\0';
            backend_set(b, front, name, text);
        }
    }
}
