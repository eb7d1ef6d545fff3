// SPDX-License-Identifier: MIT
// The fake Xen's grants and event channels, and the commands to work them: see fake_xen.h. Not here: XenStore.

#include "fake_xen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"

fake_xen_t fake_xen = {.grants_left = -1, .ports_left = -1};

_Noreturn void fake_xen_stray(const char *what, unsigned number) {
    printf("STRAY %s %u\n", what, number);
    fflush(stdout);
    _Exit(3);
}

bool xen_present(void) { return !fake_xen.absent; }

int64_t xen_param(unsigned index) { return index <= XEN_PARAM_CONSOLE_EVTCHN ? (int64_t)index + 100 : -EINVAL; }

// ---- grants ----------------------------------------------------------------------------------------

static fake_grant_t *grant_of(xen_grant_t ref) {
    return ref >= FAKE_GRANT_FIRST && ref < FAKE_GRANTS && fake_xen.grant[ref].used ? &fake_xen.grant[ref] : NULL;
}

xen_grant_t xen_grant_page(uint16_t dom, const void *page, bool readonly) {
    static xen_grant_t last = FAKE_GRANT_FIRST - 1; // a number comes back late, so that an old one is seen to be old
    if ((uintptr_t)page % HAL_PAGE_SIZE != 0 || page == NULL) {
        fake_xen_stray("grant of what is no page", 0);
    }
    if (fake_xen.grants_left == 0) {
        return 0;
    }
    for (unsigned n = FAKE_GRANT_FIRST; n < FAKE_GRANTS; n++) {
        last = last + 1 < FAKE_GRANTS ? last + 1 : FAKE_GRANT_FIRST;
        if (!fake_xen.grant[last].used) {
            fake_xen.grant[last] =
                (fake_grant_t){.used = true, .readonly = readonly, .dom = dom, .page = (uint8_t *)(uintptr_t)page};
            fake_xen.grants_left -= fake_xen.grants_left > 0;
            fake_xen.grants_in_use++;
            return last;
        }
    }
    return 0;
}

bool xen_grant_end(xen_grant_t ref) {
    fake_grant_t *g = grant_of(ref);
    if (g == NULL) {
        fake_xen_stray("end of what is no grant:", ref);
    }
    if (g->mapped > 0) {
        return false;
    }
    g->used = false;
    fake_xen.grants_in_use--;
    fake_xen.grants_left += fake_xen.grants_left >= 0;
    return true;
}

unsigned xen_grant_free_count(void) {
    return fake_xen.grants_left >= 0 ? (unsigned)fake_xen.grants_left
                                     : FAKE_GRANTS - FAKE_GRANT_FIRST - fake_xen.grants_in_use;
}

uint8_t *fake_grant_page(xen_grant_t ref, uint16_t dom, bool write) {
    const fake_grant_t *g = grant_of(ref);
    if (g == NULL || g->dom != dom) {
        return NULL;
    }
    if (write && g->readonly) {
        fake_xen_stray("write to a page that is granted read-only:", ref);
    }
    return g->page;
}

void fake_grant_hold(xen_grant_t ref, bool hold) {
    fake_grant_t *g = grant_of(ref);
    if (g == NULL) {
        fake_xen_stray("hold of what is no grant:", ref);
    }
    hold ? g->mapped++ : g->mapped--;
}

// ---- event channels --------------------------------------------------------------------------------

static fake_port_t *port_of(xen_port_t port, const char *what) {
    if (port == 0 || port >= FAKE_PORTS || !fake_xen.port[port].used) {
        fake_xen_stray(what, port);
    }
    return &fake_xen.port[port];
}

static int new_port(xen_port_t *port, uint16_t remote, bool virq) {
    for (xen_port_t p = 1; p < FAKE_PORTS && fake_xen.ports_left != 0; p++) {
        if (!fake_xen.port[p].used) {
            fake_xen.ports_left -= fake_xen.ports_left > 0;
            fake_xen.port[p] = (fake_port_t){.used = true, .masked = true, .virq = virq, .remote = remote};
            *port = p;
            return 0;
        }
    }
    return -ENOSPC;
}

int xen_evtchn_alloc(uint16_t remote, xen_port_t *port) { return new_port(port, remote, false); }
int xen_evtchn_virq(unsigned virq, xen_port_t *port) { return new_port(port, (uint16_t)virq, true); }
void xen_evtchn_close(xen_port_t port) { port_of(port, "close of what is no port:")->used = false; }
void xen_evtchn_unmask(xen_port_t port) { port_of(port, "unmask of what is no port:")->masked = false; }
void xen_evtchn_notify(xen_port_t port) { port_of(port, "notify of what is no port:")->notified++; }
void fake_port_raise(xen_port_t port) { port_of(port, "raise of what is no port:")->pending = true; }

bool xen_evtchn_take(xen_port_t port) {
    fake_port_t *p = port_of(port, "take of what is no port:");
    bool was = p->pending;
    p->pending = false;
    return was;
}

bool xen_evtchn_wait(xen_port_t port, uint64_t deadline_ns) {
    while (!xen_evtchn_take(port)) {
        if (hal_clock_ns() >= deadline_ns) {
            return false;
        }
        fake_hal.now += deadline_ns - fake_hal.now < 1000000 ? deadline_ns - fake_hal.now : 1000000;
    }
    return true;
}

// ---- another domain --------------------------------------------------------------------------------

// What the linker gathers where the code under test has hooks; none else.
extern const hal_suspend_hook_t __start_hal_suspend[] __attribute__((weak));
extern const hal_suspend_hook_t __stop_hal_suspend[] __attribute__((weak));

static void tell(hal_suspend_t what) {
    for (const hal_suspend_hook_t *hook = __start_hal_suspend; hook < __stop_hal_suspend; hook++) {
        (*hook)(what);
    }
}

void fake_xen_anew(void) {
    memset(fake_xen.grant, 0, sizeof(fake_xen.grant));
    memset(fake_xen.port, 0, sizeof(fake_xen.port));
    fake_xen.grants_in_use = 0;
    fake_xenstore_anew();
    tell(HAL_RESUMED);
}

// ---- commands --------------------------------------------------------------------------------------

uint64_t fake_xen_word(char **word, unsigned words, unsigned i) {
    if (i >= words) {
        fake_xen_stray("harness: a word is missing:", i);
    }
    return strtoull(word[i], NULL, 0);
}

static bool grant_command(char **word, unsigned words) {
    const char *what = word[0];
    if (strcmp(what, "grants") == 0) {
        printf("%u\n", fake_xen.grants_in_use);
    } else if (strcmp(what, "grant") == 0) { // REF: "dom readonly mapped", or none
        const fake_grant_t *g = grant_of((xen_grant_t)fake_xen_word(word, words, 1));
        g == NULL ? printf("none\n") : printf("%u %d %u\n", g->dom, g->readonly, g->mapped);
    } else if (strcmp(what, "grant_hold") == 0) {
        fake_grant_hold((xen_grant_t)fake_xen_word(word, words, 1), fake_xen_word(word, words, 2) != 0);
    } else if (strcmp(what, "grant_read") == 0 || strcmp(what, "grant_write") == 0) { // REF AT LEN | REF AT HEX
        bool write = what[6] == 'w';
        uint8_t *p = fake_grant_page((xen_grant_t)fake_xen_word(word, words, 1), 0, write);
        size_t at = fake_xen_word(word, words, 2), len = write ? strlen(word[3]) / 2 : fake_xen_word(word, words, 3);
        if (p == NULL || at + len > HAL_PAGE_SIZE) {
            fake_xen_stray("harness: no such place in a granted page:", (unsigned)at);
        }
        for (size_t i = 0; i < len; i++) {
            unsigned byte;
            if (write && sscanf(word[3] + 2 * i, "%2x", &byte) == 1) {
                p[at + i] = (uint8_t)byte;
            } else if (!write) {
                printf("%02x", p[at + i]);
            }
        }
        printf("%s", write ? "" : "\n");
    } else {
        return false;
    }
    return true;
}

bool fake_xen_command(char **word, unsigned words) {
    const char *what = word[0];
    if (strcmp(what, "xen") == 0) { // KNOB VALUE
        int v = (int)fake_xen_word(word, words, 2);
        if (strcmp(word[1], "absent") == 0) {
            fake_xen.absent = v != 0;
        } else if (strcmp(word[1], "dead") == 0) {
            fake_xen.dead = v != 0;
        } else if (strcmp(word[1], "grants_left") == 0) {
            fake_xen.grants_left = v;
        } else if (strcmp(word[1], "ports_left") == 0) {
            fake_xen.ports_left = v;
        } else if (strcmp(word[1], "conflicts") == 0) {
            fake_xen.conflicts = v;
        } else {
            fake_xen_stray("harness: no such knob of xen", 0);
        }
    } else if (strcmp(what, "port") == 0) { // PORT: "remote masked pending notified", or none
        xen_port_t p = (xen_port_t)fake_xen_word(word, words, 1);
        const fake_port_t *f = p < FAKE_PORTS && fake_xen.port[p].used ? &fake_xen.port[p] : NULL;
        f == NULL ? printf("none\n")
                  : printf("%u %d %d %llu\n", f->remote, f->masked, f->pending, (unsigned long long)f->notified);
    } else if (strcmp(what, "ports") == 0) { // numbers of those in use
        for (unsigned p = 1; p < FAKE_PORTS; p++) {
            fake_xen.port[p].used ? printf("%u ", p) : 0;
        }
        printf("\n");
    } else if (strcmp(what, "suspending") == 0) {
        tell(HAL_SUSPENDING);
    } else if (strcmp(what, "resumed") == 0) {
        fake_xen_anew();
    } else if (strcmp(what, "port_raise") == 0) {
        fake_port_raise((xen_port_t)fake_xen_word(word, words, 1));
    } else {
        return grant_command(word, words) || fake_xenstore_command(word, words);
    }
    return true;
}
