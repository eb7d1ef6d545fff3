// SPDX-License-Identifier: MIT
// A Xen at the level of port/xen/xen.h, for host tests of what stands above it: grants, event channels and XenStore,
// each with what a test can look at and set. The domain under test is number 1, its backends are domain 0's. What only
// a wrong driver can do (a grant ended twice, a backend's write to a read-only page) ends the process: "STRAY ...".

#ifndef FAKE_XEN_H
#define FAKE_XEN_H

#include "xen/xen.h"

enum { FAKE_GRANTS = 4096, FAKE_GRANT_FIRST = 8, FAKE_PORTS = 64, FAKE_HOME = 1 };

typedef struct {
    bool used, readonly;
    unsigned mapped; // by the backend: xen_grant_end() says false while it is not 0
    uint16_t dom;
    uint8_t *page;
} fake_grant_t;

typedef struct {
    bool used, masked, pending;
    bool virq;
    uint16_t remote;
    uint64_t notified; // how often the driver did
} fake_port_t;

typedef struct {
    bool absent;            // xen_present() is false
    bool dead;              // XenStore answers nobody: -ETIMEDOUT
    int grants_left;        // grants that still succeed; -1: all
    int ports_left;         // the same for event channels
    int conflicts;          // so many commits fail with -EAGAIN
    unsigned transactions;  // open now
    unsigned grants_in_use; // of the driver
    fake_grant_t grant[FAKE_GRANTS];
    fake_port_t port[FAKE_PORTS];
} fake_xen_t;

extern fake_xen_t fake_xen;

// ---- what a backend does ------------------------------------------------------------------------
// The page behind a grant that was given to dom; NULL where there is none of that number (the driver handed out a wrong
// one). STRAY when write is asked for and it is read-only. The page is not counted as mapped.
uint8_t *fake_grant_page(xen_grant_t ref, uint16_t dom, bool write);
// Count it as mapped, or no more.
void fake_grant_hold(xen_grant_t ref, bool hold);
void fake_port_raise(xen_port_t port); // an event from the other side

// XenStore as domain 0 sees it: relative paths begin at the home of domain 1. Setting fires watches and reactions.
const char *fake_xs_get(const char *path); // NULL: none
void fake_xs_set(const char *path, const char *value);
void fake_xs_remove(const char *path);
// Each operation of the driver on path or below it fails with -err, count times (-1: always).
void fake_xs_fail(const char *path, int err, int count);
// When the driver's write makes path have this value (NULL: any), path2 gets value2 (NULL: it is removed).
void fake_xs_react(const char *path, const char *value, const char *path2, const char *value2);
// Called before each request of the driver, unless NULL: what others do meanwhile.
extern void (*fake_xs_between)(void);
// What the driver asked for since the last call: "R path", "W path=value", "X path" (remove), "L path", "B" (begin),
// "C" (commit), "A" (abort), "?path" (watch), "!path" (unwatch), separated by newlines.
const char *fake_xs_log(void);

// The driver wakes up in another domain: it has no grant and no port, and each watch is fired. XenStore stays as it is,
// and the domain's number: what the driver may not know.
void fake_xen_anew(void);

// The commands for a harness: false when the first word is none of them. The second is fake_xenstore.c's part.
bool fake_xen_command(char **word, unsigned words);
bool fake_xenstore_command(char **word, unsigned words);
void fake_xenstore_anew(void);
uint64_t fake_xen_word(char **word, unsigned words, unsigned i); // a number; STRAY where there is none
_Noreturn void fake_xen_stray(const char *what, unsigned number);

#endif
