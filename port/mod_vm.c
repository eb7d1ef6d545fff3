// SPDX-License-Identifier: MIT
// Module `_vm`: fork(), children, signals and pipes of a family of VMs, for frozen/lib/vm.py and frozen/lib/os. Owns
// nothing: all of it is modules/family. Not here: hooks, the names that people know. Only in images that import it.
// Context: main loop; what waits can be interrupted.

#include "family.h"
#include "hal/hal.h"
#include "port.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/runtime.h"
#include "py/stream.h"

enum { READ_AHEAD = 4096, CODE_MAX = 119, CODE_MASK = 0x7f };
#define NS_PER_MS 1000000ull
#define ANSWER_NS 10000000000ull

typedef struct {
    mp_obj_base_t base;
    int fd; // -1 once closed
} stream_obj_t;

typedef stream_obj_t end_obj_t;

typedef struct {
    mp_obj_base_t base;
    int pid; // -1: any
} child_obj_t;

typedef struct {
    mp_obj_base_t base;
    mp_obj_t streams; // a tuple
} any_obj_t;

static mp_int_t check(mp_int_t r) {
    if (r < 0) {
        mp_raise_OSError((int)-r);
    }
    return r;
}

static int fd_of(mp_obj_t fd) {
    mp_int_t n = mp_obj_get_int(fd);
    return n < 0 || n > INT32_MAX ? -1 : (int)n;
}

static void wait_until(uint64_t deadline_ns) {
    mp_handle_pending(true);
    if (!family_pipe_sweep()) { // else the caller's condition may hold by now
        hal_event_wait(deadline_ns);
    }
}

static void wait_for_event(void) { wait_until(UINT64_MAX); }

// When so many milliseconds are over; None: never.
static uint64_t deadline_in(mp_obj_t ms_in) {
    mp_int_t ms = ms_in == mp_const_none ? 0 : mp_obj_get_int(ms_in);
    return ms_in == mp_const_none ? UINT64_MAX : hal_clock_ns() + (ms > 0 ? (uint64_t)ms * NS_PER_MS : 0);
}

// ---- processes ------------------------------------------------------------------------------------------

static mp_obj_t vm_fork(mp_obj_t place_in) {
    size_t len;
    const char *place = mp_obj_str_get_data(place_in, &len);
    check(family_open());
    family_pipe_sweep();
    return mp_obj_new_int(check(family_fork(place, (uint32_t)(len < UINT32_MAX ? len : UINT32_MAX))));
}
static MP_DEFINE_CONST_FUN_OBJ_1(vm_fork_obj, vm_fork);

// A VM without a family is the first of one that has no others.
static bool is_alone(void) {
    int r = family_open();
    if (r != -ENOSYS) {
        check(r);
    }
    return r < 0;
}

// ---- snapshots ------------------------------------------------------------------------------------------

// Between two steps of the script, of the VM that was asked: a copy of it may have this to do as well. vm._snapshot()
// is the rest of it.
static mp_obj_t snapshot_asked(mp_obj_t pid) {
    if (MP_OBJ_SMALL_INT_VALUE(pid) != family_pid()) {
        return mp_const_none;
    }
    mp_obj_t module = mp_import_name(MP_QSTR_vm, mp_const_none, MP_OBJ_NEW_SMALL_INT(0));
    return mp_call_function_0(mp_load_attr(module, MP_QSTR__snapshot));
}
static MP_DEFINE_CONST_FUN_OBJ_1(snapshot_asked_obj, snapshot_asked);

// False: there is no room among what is to be done.
static bool ask_for_snapshot(void) {
    return mp_sched_schedule(MP_OBJ_FROM_PTR(&snapshot_asked_obj), MP_OBJ_NEW_SMALL_INT(family_pid()));
}

// At the VM's start, so that the host can ask for a snapshot from then on.
static mp_obj_t vm_boot(void) {
    char flag[2];
    size_t at = 0;
    bool is_unserved = hal_cmdline_next("floe.unserved", &at, flag, sizeof flag) == 1 && flag[0] == '1';
    family_begin(ask_for_snapshot, is_unserved); // without a family, or one that answers, whoever asks for it is told
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_0(vm_boot_obj, vm_boot);

// snapshot() -> True in a copy, False here, also where there is none: the host tells its user why.
static mp_obj_t vm_snapshot(void) {
    family_pipe_sweep();
    return mp_obj_new_bool(family_snapshot() == 0);
}
static MP_DEFINE_CONST_FUN_OBJ_0(vm_snapshot_obj, vm_snapshot);

static mp_obj_t vm_refuse(void) {
    check(family_refuse(-ECANCELED));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_0(vm_refuse_obj, vm_refuse);

static mp_obj_t vm_is_template(void) {
    int r = family_open();
    if (r != -ENOSYS) {
        check(r);
    }
    return mp_obj_new_bool(r == 0 && family_is_template());
}
static MP_DEFINE_CONST_FUN_OBJ_0(vm_is_template_obj, vm_is_template);

// Once they are known they are, also where the family is gone.
static mp_obj_t vm_getpid(void) { return mp_obj_new_int(family_pid() == 0 && is_alone() ? 1 : family_pid()); }
static MP_DEFINE_CONST_FUN_OBJ_0(vm_getpid_obj, vm_getpid);

static mp_obj_t vm_getppid(void) { return mp_obj_new_int(family_pid() == 0 && is_alone() ? 0 : family_ppid()); }
static MP_DEFINE_CONST_FUN_OBJ_0(vm_getppid_obj, vm_getppid);

// wait(pid, ms) -> (pid, status) of a child that has ended; (0, 0): none has in that time. pid: -1 for any.
static mp_obj_t vm_wait(mp_obj_t pid_in, mp_obj_t ms) {
    uint64_t deadline = deadline_in(ms);
    mp_int_t pid = mp_obj_get_int(pid_in);
    if (pid == 0 || pid < -1 || pid > INT32_MAX) {
        mp_raise_OSError(MP_EINVAL);
    }
    int32_t status = 0;
    mp_int_t ended = is_alone() ? -ECHILD : 0;
    while (ended == 0 && (ended = check(family_ended((int32_t)pid, &status))) == 0 && hal_clock_ns() < deadline) {
        check(family_link_state());
        wait_until(deadline);
    }
    mp_obj_t items[] = {mp_obj_new_int(check(ended)), mp_obj_new_int(status)};
    return mp_obj_new_tuple(2, items);
}
static MP_DEFINE_CONST_FUN_OBJ_2(vm_wait_obj, vm_wait);

static mp_obj_t vm_kill(mp_obj_t pid_in, mp_obj_t signal_in) {
    mp_int_t pid = mp_obj_get_int(pid_in), signal = mp_obj_get_int(signal_in);
    bool known = signal == 0 || signal == FAMILY_SIGINT || signal == FAMILY_SIGKILL || signal == FAMILY_SIGTERM;
    if (pid <= 0 || pid > INT32_MAX || !known) {
        mp_raise_OSError(MP_EINVAL);
    }
    check(family_open());
    check(family_kill((int32_t)pid, (int32_t)signal));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(vm_kill_obj, vm_kill);

// exit(code): end this VM at once, without an exception; codes as sys.exit() has them.
static mp_obj_t vm_exit(mp_obj_t code_in) {
    mp_int_t code = mp_obj_get_int(code_in), low = code & CODE_MASK;
    floe_end(code >= 0 && code <= CODE_MAX ? (int)code : low > 0 && low <= CODE_MAX ? (int)low : 1);
}
static MP_DEFINE_CONST_FUN_OBJ_1(vm_exit_obj, vm_exit);

// ---- pipes ----------------------------------------------------------------------------------------------

static mp_obj_t vm_pipe(void) {
    int fds[2];
    check(family_open());
    family_pipe_sweep();
    int r = family_pipe_open((uint32_t)family_pid(), fds);
    if (r == -EMFILE) {
        gc_collect(); // what nobody has any more is closed
        family_pipe_sweep();
        r = family_pipe_open((uint32_t)family_pid(), fds);
    }
    check(r);
    mp_obj_t items[] = {MP_OBJ_NEW_SMALL_INT(fds[0]), MP_OBJ_NEW_SMALL_INT(fds[1])};
    return mp_obj_new_tuple(2, items);
}
static MP_DEFINE_CONST_FUN_OBJ_0(vm_pipe_obj, vm_pipe);

// Bytes read, 0 for the end, -errno; waits if the end is one that does.
static ssize_t do_read(int fd, void *out, size_t size, size_t ahead) {
    ssize_t r;
    while ((r = family_pipe_read(fd, out, size, ahead)) == -EAGAIN && family_pipe_blocks(fd) > 0) {
        wait_for_event();
        int state = family_link_state();
        if (state < 0) {
            return state;
        }
    }
    return r;
}

// Bytes written; all of them, where the end is one that waits.
static ssize_t do_write(int fd, const uint8_t *data, size_t len) {
    size_t done = 0;
    ssize_t r;
    do {
        r = family_pipe_write(fd, data + done, len - done);
        if (r == -EAGAIN && family_pipe_blocks(fd) > 0) {
            wait_for_event();
            r = 0;
        } else if (r < 0) {
            return done > 0 && r == -EAGAIN ? (ssize_t)done : r;
        }
        done += (size_t)r;
    } while (done < len);
    return (ssize_t)done;
}

static mp_obj_t vm_read(mp_obj_t fd, mp_obj_t size_in) {
    mp_int_t size = mp_obj_get_int(size_in);
    if (size < 0) {
        mp_raise_OSError(MP_EINVAL);
    }
    vstr_t v;
    vstr_init_len(&v, size < FAMILY_PAYLOAD_MAX ? (size_t)size : FAMILY_PAYLOAD_MAX);
    v.len = (size_t)check(do_read(fd_of(fd), v.buf, v.len, 0));
    return mp_obj_new_bytes_from_vstr(&v);
}
static MP_DEFINE_CONST_FUN_OBJ_2(vm_read_obj, vm_read);

// Bytes that lie in the pipe, as the host says; 0 for none, -EPIPE for the end, -errno.
static ssize_t ask(int fd, bool give_up) {
    uint64_t answered_by = hal_clock_ns() + ANSWER_NS;
    ssize_t r;
    while ((r = family_pipe_ask(fd, give_up)) == -EAGAIN && hal_clock_ns() < answered_by) {
        hal_event_wait(answered_by);
    }
    while (r == 0 && (r = family_pipe_lies(fd)) == -EAGAIN && hal_clock_ns() < answered_by) {
        hal_event_wait(answered_by);
        r = 0;
    }
    return r == -EAGAIN ? family_link_fail("the host says nothing") : r;
}

// As read(), for a time; -EAGAIN: nothing came, nor will anything come that is not asked for anew.
static ssize_t read_until(int fd, void *out, size_t size, uint64_t deadline) {
    ssize_t r;
    nlr_buf_t nlr;
    if (nlr_push(&nlr) != 0) {
        family_pipe_ask(fd, true);
        nlr_jump(nlr.ret_val);
    }
    while ((r = family_pipe_read(fd, out, size, 0)) == -EAGAIN && hal_clock_ns() < deadline) {
        wait_until(deadline);
        int state = family_link_state();
        if (state < 0) {
            nlr_pop();
            return state;
        }
    }
    nlr_pop();
    if (r == -EAGAIN) {
        r = ask(fd, true);
        r = r < 0 && r != -EPIPE ? r : family_pipe_take(fd, out, size);
    }
    return r;
}

// read_within(fd, size, ms) -> bytes, or None where none came in that time.
static mp_obj_t vm_read_within(mp_obj_t fd, mp_obj_t size_in, mp_obj_t ms) {
    mp_int_t size = mp_obj_get_int(size_in);
    uint64_t deadline = deadline_in(ms);
    if (size < 0) {
        mp_raise_OSError(MP_EINVAL);
    }
    vstr_t v;
    vstr_init_len(&v, size < FAMILY_PAYLOAD_MAX ? (size_t)size : FAMILY_PAYLOAD_MAX);
    ssize_t r = read_until(fd_of(fd), v.buf, v.len, deadline);
    if (r == -EAGAIN) {
        return mp_const_none;
    }
    v.len = (size_t)check(r);
    return mp_obj_new_bytes_from_vstr(&v);
}
static MP_DEFINE_CONST_FUN_OBJ_3(vm_read_within_obj, vm_read_within);

// lies(fd) -> bytes that lie in the pipe; -1: none, and there will be none.
static mp_obj_t vm_lies(mp_obj_t fd) {
    ssize_t r = ask(fd_of(fd), false);
    return mp_obj_new_int(r == -EPIPE ? -1 : check(r));
}
static MP_DEFINE_CONST_FUN_OBJ_1(vm_lies_obj, vm_lies);

// ready(fd, ms) -> whether within that time there was something to be read, or the end.
static mp_obj_t vm_ready(mp_obj_t fd_in, mp_obj_t ms) {
    uint64_t deadline = deadline_in(ms);
    int fd = fd_of(fd_in);
    ssize_t r = ask(fd, false);
    while (r == 0 && (r = family_pipe_ready(fd)) == 0 && hal_clock_ns() < deadline) {
        wait_until(deadline);
    }
    return mp_obj_new_bool(r == -EPIPE || check(r) > 0);
}
static MP_DEFINE_CONST_FUN_OBJ_2(vm_ready_obj, vm_ready);

static mp_obj_t vm_write(mp_obj_t fd, mp_obj_t data) {
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    return mp_obj_new_int(check(do_write(fd_of(fd), buf.buf, buf.len)));
}
static MP_DEFINE_CONST_FUN_OBJ_2(vm_write_obj, vm_write);

static mp_obj_t vm_close(mp_obj_t fd) {
    check(family_pipe_close(fd_of(fd)));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(vm_close_obj, vm_close);

static mp_obj_t vm_get_blocking(mp_obj_t fd) { return mp_obj_new_bool(check(family_pipe_blocks(fd_of(fd)))); }
static MP_DEFINE_CONST_FUN_OBJ_1(vm_get_blocking_obj, vm_get_blocking);

static mp_obj_t vm_set_blocking(mp_obj_t fd, mp_obj_t blocks) {
    check(family_pipe_set_blocks(fd_of(fd), mp_obj_is_true(blocks)));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(vm_set_blocking_obj, vm_set_blocking);

// ---- Stream(fd): one end of a pipe as an object that is read, written and polled --------------------------

static mp_obj_t stream_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, 1, false);
    int fd = fd_of(args[0]);
    check(family_pipe_blocks(fd));
    stream_obj_t *self = mp_obj_malloc(stream_obj_t, type);
    self->fd = fd;
    return MP_OBJ_FROM_PTR(self);
}

static mp_uint_t to_stream(ssize_t r, int *errcode) {
    if (r >= 0) {
        return (mp_uint_t)r;
    }
    *errcode = (int)-r;
    return MP_STREAM_ERROR;
}

static mp_uint_t stream_read(mp_obj_t self_in, void *buf, mp_uint_t size, int *errcode) {
    return to_stream(do_read(((stream_obj_t *)MP_OBJ_TO_PTR(self_in))->fd, buf, size, READ_AHEAD), errcode);
}

static mp_uint_t stream_write(mp_obj_t self_in, const void *buf, mp_uint_t size, int *errcode) {
    return to_stream(do_write(((stream_obj_t *)MP_OBJ_TO_PTR(self_in))->fd, buf, size), errcode);
}

static mp_uint_t stream_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    stream_obj_t *self = MP_OBJ_TO_PTR(self_in);
    int r, fd = self->fd;
    switch (request) {
        case MP_STREAM_POLL:
            r = family_pipe_ready(fd);
            return r == -EBADF ? MP_STREAM_POLL_NVAL : r < 0 ? MP_STREAM_POLL_ERR : (r & (arg | MP_STREAM_POLL_HUP));
        case MP_STREAM_CLOSE:
            self->fd = -1;
            return to_stream(fd < 0 ? 0 : family_pipe_close(fd), errcode);
        case MP_STREAM_GET_FILENO:
            return to_stream(fd < 0 ? -EBADF : fd, errcode);
        default:
            return to_stream(-EINVAL, errcode);
    }
}

static mp_obj_t stream_setblocking(mp_obj_t self_in, mp_obj_t blocks) {
    check(family_pipe_set_blocks(((stream_obj_t *)MP_OBJ_TO_PTR(self_in))->fd, mp_obj_is_true(blocks)));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(stream_setblocking_obj, stream_setblocking);

static mp_obj_t stream_fileno(mp_obj_t self_in) {
    int fd = ((stream_obj_t *)MP_OBJ_TO_PTR(self_in))->fd;
    return mp_obj_new_int(check(fd < 0 ? -MP_EBADF : fd));
}
static MP_DEFINE_CONST_FUN_OBJ_1(stream_fileno_obj, stream_fileno);

static const mp_rom_map_elem_t stream_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&mp_stream_read_obj)},
    {MP_ROM_QSTR(MP_QSTR_readinto), MP_ROM_PTR(&mp_stream_readinto_obj)},
    {MP_ROM_QSTR(MP_QSTR_readline), MP_ROM_PTR(&mp_stream_unbuffered_readline_obj)},
    {MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&mp_stream_write_obj)},
    {MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&mp_stream_close_obj)},
    {MP_ROM_QSTR(MP_QSTR_fileno), MP_ROM_PTR(&stream_fileno_obj)},
    {MP_ROM_QSTR(MP_QSTR_setblocking), MP_ROM_PTR(&stream_setblocking_obj)},
    {MP_ROM_QSTR(MP_QSTR___enter__), MP_ROM_PTR(&mp_identity_obj)},
    {MP_ROM_QSTR(MP_QSTR___exit__), MP_ROM_PTR(&mp_stream___exit___obj)},
};
static MP_DEFINE_CONST_DICT(stream_locals, stream_locals_table);

static const mp_stream_p_t stream_p = {.read = stream_read, .write = stream_write, .ioctl = stream_ioctl};

static MP_DEFINE_CONST_OBJ_TYPE(stream_type, MP_QSTR_Stream, MP_TYPE_FLAG_ITER_IS_STREAM, make_new, stream_make_new,
                                protocol, &stream_p, locals_dict, &stream_locals);

// ---- End(fd): one end of a pipe, closed once nobody has the object ------------------------------------------

static mp_obj_t end_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, 1, false);
    int fd = fd_of(args[0]);
    check(family_pipe_blocks(fd));
    end_obj_t *self = mp_obj_malloc_with_finaliser(end_obj_t, type);
    self->fd = fd;
    return MP_OBJ_FROM_PTR(self);
}

static mp_obj_t end_close(mp_obj_t self_in) {
    end_obj_t *self = MP_OBJ_TO_PTR(self_in);
    int fd = self->fd;
    self->fd = -1;
    check(fd < 0 ? 0 : family_pipe_close(fd));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(end_close_obj, end_close);

// From within the collector: nothing is sent now.
static mp_obj_t end_del(mp_obj_t self_in) {
    family_pipe_abandon(((end_obj_t *)MP_OBJ_TO_PTR(self_in))->fd);
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(end_del_obj, end_del);

static const mp_rom_map_elem_t end_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&end_close_obj)},
    {MP_ROM_QSTR(MP_QSTR___del__), MP_ROM_PTR(&end_del_obj)},
};
static MP_DEFINE_CONST_DICT(end_locals, end_locals_table);

static MP_DEFINE_CONST_OBJ_TYPE(end_type, MP_QSTR_End, MP_TYPE_FLAG_NONE, make_new, end_make_new, locals_dict,
                                &end_locals);

// ---- Child(pid): can be read, for select and asyncio, once there is an end that wait(pid) tells --------------

static mp_obj_t child_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, 1, false);
    int pid = (int)mp_obj_get_int(args[0]);
    child_obj_t *self = mp_obj_malloc(child_obj_t, type);
    self->pid = pid;
    return MP_OBJ_FROM_PTR(self);
}

static mp_uint_t child_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    if (request != MP_STREAM_POLL) {
        return to_stream(-EINVAL, errcode);
    }
    return family_has_ended(((child_obj_t *)MP_OBJ_TO_PTR(self_in))->pid) ? arg & MP_STREAM_POLL_RD : 0;
}

static const mp_stream_p_t child_p = {.ioctl = child_ioctl};

static MP_DEFINE_CONST_OBJ_TYPE(child_type, MP_QSTR_Child, MP_TYPE_FLAG_NONE, make_new, child_make_new, protocol,
                                &child_p);

// ---- Any(streams): can be read once one of them can ------------------------------------------------------

static mp_obj_t any_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 1, 1, false);
    size_t len;
    mp_obj_t *items;
    mp_obj_get_array(args[0], &len, &items);
    for (size_t i = 0; i < len; i++) {
        mp_get_stream_raise(items[i], MP_STREAM_OP_IOCTL);
    }
    any_obj_t *self = mp_obj_malloc(any_obj_t, type);
    self->streams = mp_obj_new_tuple(len, items);
    return MP_OBJ_FROM_PTR(self);
}

static mp_uint_t any_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    size_t len;
    mp_obj_t *items;
    mp_uint_t ready = 0;
    if (request != MP_STREAM_POLL) {
        return to_stream(-EINVAL, errcode);
    }
    mp_obj_get_array(((any_obj_t *)MP_OBJ_TO_PTR(self_in))->streams, &len, &items);
    for (size_t i = 0; i < len; i++) {
        mp_uint_t r = mp_get_stream(items[i])->ioctl(items[i], request, arg, errcode);
        if (r == MP_STREAM_ERROR) {
            return r;
        }
        ready |= r;
    }
    return ready;
}

static const mp_stream_p_t any_p = {.ioctl = any_ioctl};

static MP_DEFINE_CONST_OBJ_TYPE(any_type, MP_QSTR_Any, MP_TYPE_FLAG_NONE, make_new, any_make_new, protocol, &any_p);

static const mp_rom_map_elem_t globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__vm)},
    {MP_ROM_QSTR(MP_QSTR_fork), MP_ROM_PTR(&vm_fork_obj)},
    {MP_ROM_QSTR(MP_QSTR__boot), MP_ROM_PTR(&vm_boot_obj)},
    {MP_ROM_QSTR(MP_QSTR_snapshot), MP_ROM_PTR(&vm_snapshot_obj)},
    {MP_ROM_QSTR(MP_QSTR_refuse), MP_ROM_PTR(&vm_refuse_obj)},
    {MP_ROM_QSTR(MP_QSTR_is_template), MP_ROM_PTR(&vm_is_template_obj)},
    {MP_ROM_QSTR(MP_QSTR_getpid), MP_ROM_PTR(&vm_getpid_obj)},
    {MP_ROM_QSTR(MP_QSTR_getppid), MP_ROM_PTR(&vm_getppid_obj)},
    {MP_ROM_QSTR(MP_QSTR_wait), MP_ROM_PTR(&vm_wait_obj)},
    {MP_ROM_QSTR(MP_QSTR_kill), MP_ROM_PTR(&vm_kill_obj)},
    {MP_ROM_QSTR(MP_QSTR_exit), MP_ROM_PTR(&vm_exit_obj)},
    {MP_ROM_QSTR(MP_QSTR_pipe), MP_ROM_PTR(&vm_pipe_obj)},
    {MP_ROM_QSTR(MP_QSTR_read), MP_ROM_PTR(&vm_read_obj)},
    {MP_ROM_QSTR(MP_QSTR_read_within), MP_ROM_PTR(&vm_read_within_obj)},
    {MP_ROM_QSTR(MP_QSTR_lies), MP_ROM_PTR(&vm_lies_obj)},
    {MP_ROM_QSTR(MP_QSTR_ready), MP_ROM_PTR(&vm_ready_obj)},
    {MP_ROM_QSTR(MP_QSTR_write), MP_ROM_PTR(&vm_write_obj)},
    {MP_ROM_QSTR(MP_QSTR_close), MP_ROM_PTR(&vm_close_obj)},
    {MP_ROM_QSTR(MP_QSTR_get_blocking), MP_ROM_PTR(&vm_get_blocking_obj)},
    {MP_ROM_QSTR(MP_QSTR_set_blocking), MP_ROM_PTR(&vm_set_blocking_obj)},
    {MP_ROM_QSTR(MP_QSTR_Stream), MP_ROM_PTR(&stream_type)},
    {MP_ROM_QSTR(MP_QSTR_End), MP_ROM_PTR(&end_type)},
    {MP_ROM_QSTR(MP_QSTR_Child), MP_ROM_PTR(&child_type)},
    {MP_ROM_QSTR(MP_QSTR_Any), MP_ROM_PTR(&any_type)},
};
static MP_DEFINE_CONST_DICT(globals, globals_table);

const mp_obj_module_t mod_vm = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&globals,
};

MP_REGISTER_MODULE(MP_QSTR__vm, mod_vm);
