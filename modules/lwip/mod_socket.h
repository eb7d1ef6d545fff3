// SPDX-License-Identifier: MIT
// What the files of module socket share: the object, waiting, and the functions that mod_socket.c puts into its
// tables. Owns nothing. Context: main loop; may raise.

#ifndef FLOE_MOD_SOCKET_H
#define FLOE_MOD_SOCKET_H

#include "py/obj.h"
#include "sock.h"

#define SOCKET_TIMEOUT_NONE UINT64_MAX

typedef struct {
    mp_obj_base_t base;
    sock_t *sock; // NULL once closed
    mp_obj_t callback;
    uint64_t timeout_ns; // 0: non-blocking
} socket_obj_t;

// Linux's numbers; 20 is MicroPython's own: a function to call when the socket becomes ready.
enum { SOL_SOCKET = 1, SO_REUSEADDR = 2, SO_BROADCAST = 6, SO_KEEPALIVE = 9, SO_CALLBACK = 20, SO_BINDTODEVICE = 25 };
enum { IPPROTO_IP = 0, IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_IPV6 = 41 };
enum { IP_TTL = 2, IP_MULTICAST_TTL = 33, IP_MULTICAST_LOOP = 34, IP_ADD_MEMBERSHIP = 35, IP_DROP_MEMBERSHIP = 36 };
enum { IPV6_UNICAST_HOPS = 16, IPV6_MULTICAST_HOPS = 18, IPV6_MULTICAST_LOOP = 19 };
enum { IPV6_JOIN_GROUP = 20, IPV6_LEAVE_GROUP = 21, TCP_NODELAY = 1 };

// ---- mod_sockio.c -------------------------------------------------------------------------------
// Raise OSError for a negative result.
void mod_socket_check(ssize_t r);
// A socket that some other module was given. Raises TypeError, OSError.
socket_obj_t *mod_socket_of(mp_obj_t obj); // mod_socket.c
// The object, or OSError(EBADF) when it is closed.
socket_obj_t *mod_socket_get_open(mp_obj_t self_in);
uint64_t mod_socket_deadline(const socket_obj_t *self);
// A verb said "not now". 0: something happened, try again; or what to fail with, as -errno.
int mod_socket_wait(socket_obj_t *self, uint64_t deadline);
mp_uint_t mod_socket_read(mp_obj_t self_in, void *buf, mp_uint_t size, int *errcode);
mp_uint_t mod_socket_write(mp_obj_t self_in, const void *buf, mp_uint_t size, int *errcode);
MP_DECLARE_CONST_FUN_OBJ_2(mod_socket_send_obj);
MP_DECLARE_CONST_FUN_OBJ_2(mod_socket_sendall_obj);
MP_DECLARE_CONST_FUN_OBJ_3(mod_socket_sendto_obj);
MP_DECLARE_CONST_FUN_OBJ_2(mod_socket_recv_obj);
MP_DECLARE_CONST_FUN_OBJ_2(mod_socket_recvfrom_obj);
MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(mod_socket_recv_into_obj);
MP_DECLARE_CONST_FUN_OBJ_2(mod_socket_shutdown_obj);

// ---- mod_sockopt.c ------------------------------------------------------------------------------
MP_DECLARE_CONST_FUN_OBJ_2(mod_socket_settimeout_obj);
MP_DECLARE_CONST_FUN_OBJ_2(mod_socket_setblocking_obj);
MP_DECLARE_CONST_FUN_OBJ_VAR_BETWEEN(mod_socket_setsockopt_obj);

#endif
