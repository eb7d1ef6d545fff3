// SPDX-License-Identifier: MIT
// Module `linux_fork` of upstream's unix port, which has no fork(2): fork() and wait(), as os has them in CPython.

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "py/runtime.h"

static mp_obj_t begin(void) {
    pid_t pid = fork();
    if (pid < 0) {
        mp_raise_OSError(errno);
    }
    return mp_obj_new_int(pid);
}
static MP_DEFINE_CONST_FUN_OBJ_0(fork_obj, begin);

static mp_obj_t await_child(void) {
    int status;
    pid_t pid = wait(&status);
    if (pid < 0) {
        mp_raise_OSError(errno);
    }
    mp_obj_t pair[] = {mp_obj_new_int(pid), mp_obj_new_int(status)};
    return mp_obj_new_tuple(2, pair);
}
static MP_DEFINE_CONST_FUN_OBJ_0(wait_obj, await_child);

static const mp_rom_map_elem_t linux_fork_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_linux_fork)},
    {MP_ROM_QSTR(MP_QSTR_fork), MP_ROM_PTR(&fork_obj)},
    {MP_ROM_QSTR(MP_QSTR_wait), MP_ROM_PTR(&wait_obj)},
};
static MP_DEFINE_CONST_DICT(linux_fork_globals, linux_fork_globals_table);

const mp_obj_module_t linux_fork_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&linux_fork_globals,
};
MP_REGISTER_MODULE(MP_QSTR_linux_fork, linux_fork_module);
