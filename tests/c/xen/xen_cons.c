// SPDX-License-Identifier: MIT
// xen_console.c by commands, with the daemon's end of the ring: probe; send HEX (bytes taken); early HEX (a panic's
// words); idle; took N (the daemon reads up to N bytes: their hex); type HEX (as many as fit: how many); index NAME
// [VALUE] (in_cons in_prod out_cons out_prod of the page; with VALUE the daemon lies);
// told (how often the daemon was); room N (for input).

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"

#include "xen_console.c"

bool xen_extra_command(char **word, unsigned words);

uint32_t xen_console_prod; // end.c's
static xencons_ring_t *page;
static xen_port_t port;

xencons_ring_t *xen_console_ring(xen_port_t *out) {
    *out = port;
    xen_console_prod = page->out_prod;
    return page;
}

static size_t unhex(const char *text, uint8_t *out) {
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        sscanf(text + 2 * i, "%2hhx", &out[i]);
    }
    return n;
}

static void took(uint32_t most) {
    uint32_t have = page->out_prod - page->out_cons;
    for (uint32_t i = 0; i < have && i < most; i++) {
        printf("%02x", (uint8_t)page->out[page->out_cons++ % XENCONS_OUT]);
    }
    printf("\n");
}

static unsigned type(const uint8_t *data, size_t len) {
    unsigned n = 0;
    while (n < len && page->in_prod - page->in_cons < XENCONS_IN) {
        page->in[page->in_prod % XENCONS_IN] = (char)data[n++];
        page->in_prod++;
    }
    fake_port_raise(port);
    return n;
}

static volatile uint32_t *index_of(const char *name) {
    return strcmp(name, "in_cons") == 0    ? &page->in_cons
           : strcmp(name, "in_prod") == 0  ? &page->in_prod
           : strcmp(name, "out_cons") == 0 ? &page->out_cons
                                           : &page->out_prod;
}

bool xen_extra_command(char **word, unsigned words) {
    static uint8_t data[1 << 16];
    const char *what = word[0];
    if (strcmp(what, "probe") == 0) {
        page = page != NULL ? page : aligned_alloc(HAL_PAGE_SIZE, HAL_PAGE_SIZE);
        memset(page, 0, HAL_PAGE_SIZE);
        page->out_prod = page->out_cons = words > 1 ? (uint32_t)fake_xen_word(word, words, 1) : 0;
        page->in_prod = page->in_cons = page->out_prod;
        xen_evtchn_alloc(0, &port);
        printf("%d\n", xen_console_driver.probe());
    } else if (strcmp(what, "send") == 0) {
        printf("%zu\n", sink.send(sink.ctx, data, unhex(word[1], data)));
    } else if (strcmp(what, "early") == 0) { // as end.c's writer does, in a panic
        for (size_t i = 0, n = unhex(word[1], data); i < n; i++) {
            page->out[xen_console_prod++ % XENCONS_OUT] = (char)data[i];
            page->out_prod = xen_console_prod;
        }
    } else if (strcmp(what, "idle") == 0) {
        printf("%d\n", sink.send_idle(sink.ctx));
    } else if (strcmp(what, "took") == 0) {
        took((uint32_t)fake_xen_word(word, words, 1));
    } else if (strcmp(what, "type") == 0) {
        printf("%u\n", type(data, unhex(word[1], data)));
    } else if (strcmp(what, "index") == 0) {
        if (words > 2) {
            *index_of(word[1]) = (uint32_t)fake_xen_word(word, words, 2);
        }
        printf("%u\n", *index_of(word[1]));
    } else if (strcmp(what, "told") == 0) {
        printf("%llu\n", (unsigned long long)fake_xen.port[port].notified);
    } else if (strcmp(what, "room") == 0) {
        fake_hal.input_room = fake_xen_word(word, words, 1);
    } else {
        return false;
    }
    return true;
}
