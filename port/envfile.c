// SPDX-License-Identifier: MIT
// The variables of `floe run --env-file FILE` and `--env`: blobs env/0, env/1, ... of lines K=V in docker's format, or
// ended by NUL where the last byte is one; a later blob over an earlier one, the kernel command line over all. Read
// when a script first asks for a variable, and only where the command line says how many there are (floe.env=N), for a
// look costs exits. Owns nothing: the environment is bootargs.c's. Context: main loop.

#include <stdio.h>
#include <string.h>

#include "env.h"
#include "hal/hal.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/runtime.h"

// Blank lines, comments and names without a value say nothing: the host has checked what floe itself hands over.
static void add_lines(mp_obj_t env, const char *p, const char *end) {
    int newline = p < end && end[-1] == '\0' ? '\0' : '\n';
    while (p < end) {
        const char *nl = memchr(p, newline, (size_t)(end - p));
        const char *stop = nl != NULL ? nl : end;
        while (p < stop && (*p == ' ' || *p == '\t')) {
            p++;
        }
        const char *eq = memchr(p, '=', (size_t)(stop - p));
        if (eq != NULL && eq > p && *p != '#') {
            mp_obj_t value = mp_obj_new_str(eq + 1, (size_t)(stop - eq - 1));
            mp_obj_dict_store(env, mp_obj_new_str(p, (size_t)(eq - p)), value);
        }
        p = stop + 1;
    }
}

void floe_env_complete(void) {
    if (floe_env_is_complete) {
        return;
    }
    char count[2];
    size_t pos = 0;
    if (hal_cmdline_next("floe.env", &pos, count, sizeof(count)) != 1) {
        floe_env_is_complete = true;
        return;
    }
    mp_obj_t env = mp_obj_new_dict(0);
    char name[] = "env/0";
    for (char n = '0'; n < count[0]; n++) {
        name[sizeof(name) - 2] = n;
        vstr_t v;
        int size = hal_blob_size(name);
        if (size >= 0) {
            vstr_init_len(&v, (size_t)size);
            size = hal_blob_read(name, v.buf, (size_t)size);
        }
        if (size < 0) {
            mp_raise_OSError(-size);
        }
        add_lines(env, v.buf, v.buf + v.len);
        vstr_clear(&v);
    }
    const mp_map_t *from_cmdline = mp_obj_dict_get_map(MP_STATE_PORT(floe_env));
    for (size_t i = 0; i < from_cmdline->alloc; i++) {
        if (mp_map_slot_is_filled(from_cmdline, i)) {
            mp_obj_dict_store(env, from_cmdline->table[i].key, from_cmdline->table[i].value);
        }
    }
    MP_STATE_PORT(floe_env) = env;
    floe_env_is_complete = true; // only now: who had no memory for it asks again, and does not hear of an empty one
}
