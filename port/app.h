// SPDX-License-Identifier: MIT
// What an image is, apart from the port: the generated floe_app.c defines it (tools/floe/build/app.c.in).

#ifndef FLOE_APP_H
#define FLOE_APP_H

#include <stdbool.h>
#include <stddef.h>

#include "hal/hal.h"

typedef struct {
    const char *main_module;            // frozen script run as __main__, e.g. "main.py"
    const hal_driver_t *const *drivers; // NULL terminated, probed in this order
    void (*repl)(void);                 // dev image: floe_repl, runs the script and a REPL; NULL in sealed ones
    const void *romfs;                  // ROMFS image, NULL without data
    size_t romfs_size;
    const char *name, *version;
    bool (*interrupt_loop)(void); // floe_interrupt_loop where the image has asyncio, _signal where it has signal
    size_t arena_pages;           // pages for native code made at run time; 0 in sealed images
    const void *code;             // ready kernel (ready.c): ROMFS of the .mpy files; NULL where they are linked in
    size_t appended;              // and the bytes that follow link_end, whole pages, read-only
    uint64_t *const *moved;       // and what boot/place.c moves apart from what the linker lists; NULL behind the last
} floe_app_t;

extern const floe_app_t floe_app;

// Ask a running asyncio loop for the end; false: there is none, or it has been asked (interrupt.c).
bool floe_interrupt_loop(void);

// Have the script's own handler called, or else ask the loop; false: there is neither (signals.c).
bool floe_interrupt_signal(void);

#endif
