// SPDX-License-Identifier: MIT
// Module _handoff, for frozen/lib/vm/connections.py: a fork that takes connections with it. Owns nothing. Not here:
// which (the caller says so), how they go on (handoff.h). Context: main loop; may raise.

#include <errno.h>

#include "family.h"
#include "handoff.h"
#include "mod_socket.h"
#include "py/gc.h"
#include "py/runtime.h"

// check(sock): raise for what is no connection.
static mp_obj_t handoff_check(mp_obj_t sock) {
    const sock_t *s = mod_socket_of(sock)->sock;
    bool connected = s->type == SOCK_TYPE_STREAM && s->state == SOCK_CONNECTED;
    mod_socket_check(connected ? 0 : -ENOTCONN);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(handoff_check_obj, handoff_check);

static int prepare(handoff_t *h, sock_t *s) {
    int r = handoff_prepare(h, s);
    if (r == -EMFILE || r == -ENOMEM) {
        gc_collect(); // what nobody has any more is closed
        family_pipe_sweep();
        r = handoff_prepare(h, s);
    }
    return r;
}

// fork(place, socks): as _vm.fork(place); of these, which check() let pass, those that are still open go on in the
// copy. Here they are closed, unless there is no copy.
static mp_obj_t handoff_fork(mp_obj_t place_in, mp_obj_t socks) {
    size_t len, n, ready = 0;
    mp_obj_t *items;
    const char *place = mp_obj_str_get_data(place_in, &len);
    mp_obj_get_array(socks, &n, &items);
    handoff_t *all = m_new(handoff_t, n);
    int32_t pid = family_open();
    family_pipe_sweep();
    for (; pid == 0 && ready < n; ready++) {
        sock_t *s = ((socket_obj_t *)MP_OBJ_TO_PTR(items[ready]))->sock;
        all[ready].s = NULL;
        if (s != NULL && (pid = prepare(&all[ready], s)) < 0) {
            break;
        }
    }
    pid = pid < 0 ? pid : family_fork(place, (uint32_t)(len < UINT32_MAX ? len : UINT32_MAX));
    for (size_t i = 0; pid > 0 && i < ready; i++) {
        if (all[i].s != NULL) {
            all[i].s->notify = NULL; // the object has it no longer, and frames may wait below
        }
    }
    for (size_t i = 0; i < ready; i++) {
        if (all[i].s != NULL) {
            socket_obj_t *sock = MP_OBJ_TO_PTR(items[i]);
            if (pid > 0) {
                sock->sock = NULL;
                sock->callback = MP_OBJ_NULL;
            }
            handoff_finish(&all[i], pid);
        }
    }
    mod_socket_check(pid);
    return mp_obj_new_int(pid);
}
static MP_DEFINE_CONST_FUN_OBJ_2(handoff_fork_obj, handoff_fork);

static const mp_rom_map_elem_t globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__handoff)},
    {MP_ROM_QSTR(MP_QSTR_check), MP_ROM_PTR(&handoff_check_obj)},
    {MP_ROM_QSTR(MP_QSTR_fork), MP_ROM_PTR(&handoff_fork_obj)},
};
static MP_DEFINE_CONST_DICT(globals, globals_table);

const mp_obj_module_t mod_handoff = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&globals,
};

MP_REGISTER_MODULE(MP_QSTR__handoff, mod_handoff);
