// SPDX-License-Identifier: MIT
// Module _link: the frames of link.h for Python. Link(card) is an object that select.poll() takes. Owns nothing. Not
// here: what is in a frame (images/router). Context: main loop; may raise.

#include <errno.h>

#include "link.h"
#include "netsum.h"
#include "py/mperrno.h"
#include "py/runtime.h"
#include "py/stream.h"

typedef struct {
    mp_obj_base_t base;
    unsigned card;
} link_obj_t;

static void check(int r) {
    if (r < 0) {
        mp_raise_OSError(-r);
    }
}

static const mp_obj_type_t link_type;

// Link(card, kinds)
static mp_obj_t link_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 2, 2, false);
    mp_int_t card = mp_obj_get_int(args[0]);
    check(card < 0 ? -ENODEV : link_listen((unsigned)card, (unsigned)mp_obj_get_int(args[1])));
    link_obj_t *self = mp_obj_malloc(link_obj_t, &link_type);
    self->card = (unsigned)card;
    return MP_OBJ_FROM_PTR(self);
}

// recv(): the oldest frame, None if there is none.
static mp_obj_t link_recv(mp_obj_t self_in) {
    const link_obj_t *self = MP_OBJ_TO_PTR(self_in);
    int there = link_waiting(self->card);
    if (there == -EAGAIN) {
        return mp_const_none;
    }
    vstr_t v;
    vstr_init_len(&v, (size_t)there);
    v.len = (size_t)link_take(self->card, v.buf, v.len);
    return mp_obj_new_bytes_from_vstr(&v);
}
static MP_DEFINE_CONST_FUN_OBJ_1(link_recv_obj, link_recv);

// send(frame): False: the queue is full. OSError: EMSGSIZE: too short or too long.
static mp_obj_t link_send_frame(mp_obj_t self_in, mp_obj_t frame) {
    const link_obj_t *self = MP_OBJ_TO_PTR(self_in);
    mp_buffer_info_t buf;
    mp_get_buffer_raise(frame, &buf, MP_BUFFER_READ);
    int r = link_send(self->card, buf.buf, buf.len);
    if (r == -EAGAIN) {
        return mp_const_false;
    }
    check(r);
    return mp_const_true;
}
static MP_DEFINE_CONST_FUN_OBJ_2(link_send_obj, link_send_frame);

// router(on): set the R flag in this card's neighbour advertisements.
static mp_obj_t link_set_router(mp_obj_t self_in, mp_obj_t on) {
    const link_obj_t *self = MP_OBJ_TO_PTR(self_in);
    check(link_router(self->card, mp_obj_is_true(on)));
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_2(link_router_obj, link_set_router);

static mp_obj_t link_get_lost(mp_obj_t self_in) {
    const link_obj_t *self = MP_OBJ_TO_PTR(self_in);
    return mp_obj_new_int_from_uint(link_lost(self->card));
}
static MP_DEFINE_CONST_FUN_OBJ_1(link_lost_obj, link_get_lost);

static mp_uint_t link_ioctl(mp_obj_t self_in, mp_uint_t request, uintptr_t arg, int *errcode) {
    const link_obj_t *self = MP_OBJ_TO_PTR(self_in);
    if (request == MP_STREAM_POLL) {
        return (MP_STREAM_POLL_WR | (link_waiting(self->card) >= 0 ? MP_STREAM_POLL_RD : 0)) & arg;
    }
    *errcode = MP_EINVAL;
    return MP_STREAM_ERROR;
}

static const mp_stream_p_t link_stream = {.ioctl = link_ioctl};

static const mp_rom_map_elem_t link_locals_table[] = {
    {MP_ROM_QSTR(MP_QSTR_recv), MP_ROM_PTR(&link_recv_obj)},
    {MP_ROM_QSTR(MP_QSTR_send), MP_ROM_PTR(&link_send_obj)},
    {MP_ROM_QSTR(MP_QSTR_router), MP_ROM_PTR(&link_router_obj)},
    {MP_ROM_QSTR(MP_QSTR_lost), MP_ROM_PTR(&link_lost_obj)},
};
static MP_DEFINE_CONST_DICT(link_locals, link_locals_table);

static MP_DEFINE_CONST_OBJ_TYPE(link_type, MP_QSTR_Link, MP_TYPE_FLAG_NONE, make_new, link_make_new, protocol,
                                &link_stream, locals_dict, &link_locals);

// checksum(data): the Internet checksum of an even number of bytes, or of an odd one, as if a zero followed.
static mp_obj_t link_checksum(mp_obj_t data) {
    mp_buffer_info_t buf;
    mp_get_buffer_raise(data, &buf, MP_BUFFER_READ);
    uint16_t sum = (uint16_t)~netsum_sum(buf.buf, (int)(buf.len < UINT16_MAX ? buf.len : UINT16_MAX));
    return MP_OBJ_NEW_SMALL_INT((sum & 0xff) << 8 | sum >> 8);
}
static MP_DEFINE_CONST_FUN_OBJ_1(link_checksum_obj, link_checksum);

static const mp_rom_map_elem_t link_globals_table[] = {
    {MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR__link)},
    {MP_ROM_QSTR(MP_QSTR_Link), MP_ROM_PTR(&link_type)},
    {MP_ROM_QSTR(MP_QSTR_checksum), MP_ROM_PTR(&link_checksum_obj)},
};
static MP_DEFINE_CONST_DICT(link_globals, link_globals_table);

const mp_obj_module_t mod_link_module = {
    .base = {&mp_type_module},
    .globals = (mp_obj_dict_t *)&link_globals,
};
MP_REGISTER_MODULE(MP_QSTR__link, mod_link_module);
