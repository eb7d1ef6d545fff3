// SPDX-License-Identifier: MIT
// The fake Xen's XenStore: see fake_xen.h. A sorted list of paths with values; a transaction works on a copy that takes
// the list's place when it is committed, unless somebody else wrote meanwhile. Commands stand at the end.

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"

// ---- XenStore: nodes -------------------------------------------------------------------------------

typedef struct node {
    struct node *next;
    char *path, *value;
} node_t;

typedef struct {
    char *path, *value, *path2, *value2;
} react_t;

typedef struct {
    char *path;
    int err, count;
} fail_t;

#define HOME "/local/domain/1/"
enum { RULES = 64, LOG_MAX = 1 << 20 };
static node_t *tree, *tx_tree;
static uint64_t generation, tx_generation;
static xen_tx_t tx_last;
static react_t reacts[RULES];
static fail_t fails[RULES];
static unsigned react_count, fail_count;
static xen_watch_t *watches;
static char asked[LOG_MAX];
static size_t asked_len;

// Never freed: a test is short.
static const char *absolute(const char *path) {
    size_t size = strlen(path) + sizeof(HOME);
    char *p = malloc(size);
    snprintf(p, size, "%s%s", path[0] == '/' ? "" : HOME, path);
    return p;
}

static bool at_or_below(const char *path, const char *top) {
    size_t n = strcmp(top, "/") == 0 ? 0 : strlen(top);
    return strncmp(path, top, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static node_t **place(node_t **list, const char *path) {
    while (*list != NULL && strcmp((*list)->path, path) < 0) {
        list = &(*list)->next;
    }
    return list;
}

static node_t *find(node_t *list, const char *path) {
    node_t *n = *place(&list, path);
    return n != NULL && strcmp(n->path, path) == 0 ? n : NULL;
}

// With all folders above it, as xenstored makes them.
static void set(node_t **list, const char *path, const char *value) {
    char part[XEN_STORE_PATH_MAX * 2];
    for (size_t i = 1; path[i - 1] != '\0'; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            memcpy(part, path, i), part[i] = '\0';
            node_t **at = place(list, part);
            if (*at == NULL || strcmp((*at)->path, part) != 0) {
                node_t *n = malloc(sizeof(*n));
                *n = (node_t){*at, strdup(part), strdup("")};
                *at = n;
            }
        }
    }
    node_t *n = find(*list, path);
    free(n->value);
    n->value = strdup(value);
}

static bool cut(node_t **list, const char *path) {
    bool any = false;
    while (*list != NULL) {
        node_t *n = *list;
        if (at_or_below(n->path, path)) {
            *list = n->next;
            free(n->path), free(n->value), free(n);
            any = true;
        } else {
            list = &n->next;
        }
    }
    return any;
}

static node_t *copy(const node_t *n) {
    node_t *first = NULL, **end = &first;
    for (; n != NULL; n = n->next, end = &(*end)->next) {
        *end = malloc(sizeof(**end));
        **end = (node_t){NULL, strdup(n->path), strdup(n->value)};
    }
    return first;
}

// ---- XenStore: what follows a change ---------------------------------------------------------------

static void changed(const char *path) {
    generation++;
    for (xen_watch_t *w = watches; w != NULL; w = w->next) {
        const char *at = absolute(w->path);
        w->pending |= at_or_below(path, at) || at_or_below(at, path);
    }
}

static void react(const char *path, const char *value) {
    for (unsigned i = 0; i < react_count; i++) {
        const react_t *r = &reacts[i];
        if (strcmp(absolute(r->path), path) == 0 && (r->value == NULL || strcmp(r->value, value) == 0)) {
            r->value2 != NULL ? fake_xs_set(r->path2, r->value2) : fake_xs_remove(r->path2);
        }
    }
}

// A transaction is done: everything that is another one than before has changed.
static void take_over(node_t *fresh) {
    node_t *old = tree;
    tree = fresh;
    for (node_t *n = fresh; n != NULL; n = n->next) {
        const node_t *was = find(old, n->path);
        if (was == NULL || strcmp(was->value, n->value) != 0) {
            changed(n->path);
        }
    }
    for (node_t *n = old; n != NULL; n = n->next) {
        if (find(fresh, n->path) == NULL) {
            changed(n->path);
        }
    }
    for (node_t *n = copy(fresh); n != NULL; n = n->next) { // a copy: a reaction may change the list
        const node_t *was = find(old, n->path);
        if (was == NULL || strcmp(was->value, n->value) != 0) {
            react(n->path, n->value);
        }
    }
}

const char *fake_xs_get(const char *path) {
    const node_t *n = find(tree, absolute(path));
    return n == NULL ? NULL : n->value;
}

void fake_xs_set(const char *path, const char *value) {
    const char *at = absolute(path);
    set(&tree, at, value);
    changed(at);
}

void fake_xs_remove(const char *path) {
    const char *at = absolute(path);
    if (cut(&tree, at)) {
        changed(at);
    }
}

void fake_xs_fail(const char *path, int err, int count) {
    if (fail_count == RULES) {
        fake_xen_stray("too many xs_fail", RULES);
    }
    fails[fail_count++] = (fail_t){strdup(absolute(path)), err, count};
}

void fake_xs_react(const char *path, const char *value, const char *path2, const char *value2) {
    if (react_count == RULES) {
        fake_xen_stray("too many xs_react", RULES);
    }
    reacts[react_count++] = (react_t){strdup(path), value == NULL ? NULL : strdup(value), strdup(path2),
                                      value2 == NULL ? NULL : strdup(value2)};
}

const char *fake_xs_log(void) {
    static char out[LOG_MAX];
    memcpy(out, asked, asked_len), out[asked_len] = '\0';
    asked_len = 0;
    return out;
}

// ---- XenStore: what the driver calls ---------------------------------------------------------------

static bool in_fired;
void (*fake_xs_between)(void);

// Note the request. 0, or what it shall fail with.
static int ask(char what, const char *path, const char *value) {
    if (fake_xs_between != NULL) {
        fake_xs_between();
    }
    size_t room = LOG_MAX - asked_len;
    int n =
        snprintf(asked + asked_len, room, "%s%c%s%s%s%s", asked_len > 0 ? "\n" : "", what,
                 strchr("BCA?!", what) == NULL ? " " : "", path, value == NULL ? "" : "=", value == NULL ? "" : value);
    asked_len += (size_t)n < room ? (size_t)n : 0;
    if (fake_xen.dead) {
        return -ETIMEDOUT;
    }
    for (unsigned i = 0; i < fail_count; i++) {
        if (fails[i].count != 0 && at_or_below(absolute(path), fails[i].path)) {
            fails[i].count -= fails[i].count > 0;
            return -fails[i].err;
        }
    }
    return 0;
}

static node_t **view(xen_tx_t tx) {
    if (tx != 0 && (tx != tx_last || fake_xen.transactions == 0)) {
        fake_xen_stray("use of a transaction that is not open:", tx);
    }
    return tx == 0 ? &tree : &tx_tree;
}

int xen_store_read(xen_tx_t tx, const char *path, char *out, size_t size) {
    int err = ask('R', path, NULL);
    const node_t *n = find(*view(tx), absolute(path));
    if (err != 0 || n == NULL) {
        return err != 0 ? err : -ENOENT;
    }
    snprintf(out, size, "%s", n->value);
    return (int)strlen(n->value);
}

int xen_store_read_u64(xen_tx_t tx, const char *path, uint64_t max, uint64_t *out) {
    char text[32], *end;
    int n = xen_store_read(tx, path, text, sizeof(text));
    if (n < 0) {
        return n;
    }
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (n == 0 || n > 20 || strspn(text, "0123456789") != (size_t)n || errno != 0 || v > max) {
        return -EINVAL;
    }
    *out = v;
    return 0;
}

int xen_store_write(xen_tx_t tx, const char *path, const char *value) {
    int err = ask('W', path, value);
    if (err != 0) {
        return err;
    }
    set(view(tx), absolute(path), value);
    if (tx == 0) {
        changed(absolute(path));
        react(absolute(path), value);
    }
    return 0;
}

int xen_store_printf(xen_tx_t tx, const char *path, const char *fmt, ...) {
    char value[XEN_STORE_PAYLOAD_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof(value), fmt, ap);
    va_end(ap);
    return xen_store_write(tx, path, value);
}

int xen_store_remove(xen_tx_t tx, const char *path) {
    int err = ask('X', path, NULL);
    if (err == 0 && !cut(view(tx), absolute(path))) {
        err = -ENOENT;
    }
    if (err == 0 && tx == 0) {
        changed(absolute(path));
    }
    return err;
}

int xen_store_list(xen_tx_t tx, const char *path, char *out, size_t size) {
    int err = ask('L', path, NULL);
    const char *top = absolute(path);
    if (err != 0 || find(*view(tx), top) == NULL) {
        return err != 0 ? err : -ENOENT;
    }
    size_t used = 0;
    for (const node_t *n = *view(tx); n != NULL; n = n->next) {
        const char *name = n->path + strlen(top) + 1;
        if (at_or_below(n->path, top) && strlen(n->path) > strlen(top) && strchr(name, '/') == NULL) {
            if (used + strlen(name) + 1 > size) {
                return -EMSGSIZE;
            }
            strcpy(out + used, name);
            used += strlen(name) + 1;
        }
    }
    return (int)used;
}

int xen_store_begin(xen_tx_t *tx) {
    int err = ask('B', "", NULL);
    if (fake_xen.transactions > 0) {
        fake_xen_stray("a second transaction in", tx_last);
    }
    if (err == 0) {
        fake_xen.transactions++;
        tx_tree = copy(tree);
        tx_generation = generation;
        *tx = ++tx_last;
    }
    return err;
}

int xen_store_end(xen_tx_t tx, bool commit) {
    int err = ask(commit ? 'C' : 'A', "", NULL);
    view(tx);
    fake_xen.transactions--;
    if (err != 0 || !commit) {
        return err;
    }
    if (fake_xen.conflicts > 0 || generation != tx_generation) {
        fake_xen.conflicts -= fake_xen.conflicts > 0;
        return -EAGAIN;
    }
    take_over(tx_tree);
    return 0;
}

static bool fire(void *arg) {
    (void)arg;
    bool any = false;
    for (bool again = true; again && !in_fired;) {
        again = false;
        for (xen_watch_t *w = watches; w != NULL && !again; w = w->next) {
            if (w->pending) { // it may unwatch itself: from the beginning again
                w->pending = false;
                in_fired = again = any = true;
                w->fired(w->arg);
                in_fired = false;
            }
        }
    }
    return any;
}

static bool armed(void *arg) {
    (void)arg;
    bool any = false;
    for (const xen_watch_t *w = watches; w != NULL; w = w->next) {
        any |= w->pending;
    }
    return any;
}

int xen_store_watch(xen_watch_t *w) {
    static hal_event_source_t source = {.run = fire, .arm = armed};
    static bool added;
    int err = ask('?', w->path, NULL);
    for (const xen_watch_t *v = watches; v != NULL; v = v->next) {
        if (v == w) {
            fake_xen_stray("a watch is set twice", 0);
        }
    }
    if (err == 0) {
        if (!added) {
            added = true;
            hal_event_add(&source);
        }
        w->pending = true;
        w->next = watches;
        watches = w;
    }
    return err;
}

void fake_xenstore_anew(void) {
    for (xen_watch_t *w = watches; w != NULL; w = w->next) {
        w->pending = true;
    }
}

void xen_store_unwatch(xen_watch_t *w) {
    ask('!', w->path, NULL);
    for (xen_watch_t **at = &watches; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            return;
        }
    }
    fake_xen_stray("unwatch of what is not watched", 0);
}

// ---- commands --------------------------------------------------------------------------------------

static char *rest(char **word, unsigned words, unsigned from) { // the words that are left, as one
    static char text[XEN_STORE_PAYLOAD_MAX * 2];
    text[0] = '\0';
    for (unsigned i = from; i < words; i++) {
        strcat(strcat(text, i > from ? " " : ""), word[i]);
    }
    return text;
}

bool fake_xenstore_command(char **word, unsigned words) {
    const char *what = word[0], *path = words > 1 ? word[1] : "";
    if (strcmp(what, "xs_set") == 0) { // PATH VALUE...
        fake_xs_set(path, rest(word, words, 2));
    } else if (strcmp(what, "xs_get") == 0) {
        const char *value = fake_xs_get(path);
        printf("%s\n", value == NULL ? "none" : value);
    } else if (strcmp(what, "xs_rm") == 0) {
        fake_xs_remove(path);
    } else if (strcmp(what, "xs_tree") == 0) { // PATH: all below it, "path=value" a line
        for (const node_t *n = tree; n != NULL; n = n->next) {
            if (at_or_below(n->path, absolute(path))) {
                printf("%s=%s\n", n->path, n->value);
            }
        }
    } else if (strcmp(what, "xs_fail") == 0) { // PATH ERRNO [COUNT]
        fake_xs_fail(path, (int)fake_xen_word(word, words, 2), words > 3 ? (int)fake_xen_word(word, words, 3) : -1);
    } else if (strcmp(what, "xs_react") == 0) { // PATH VALUE|* PATH2 [VALUE2...]
        const char *value = strcmp(word[2], "*") == 0 ? NULL : word[2];
        fake_xs_react(path, value, word[3], words > 4 ? rest(word, words, 4) : NULL);
    } else if (strcmp(what, "xs_log") == 0) {
        const char *log = fake_xs_log();
        printf("%s%s", log, log[0] == '\0' ? "" : "\n");
    } else {
        return false;
    }
    return true;
}
