// SPDX-License-Identifier: MIT
// What every part of a socket stands on: its memory, readiness, errors, refusal. Owns no state. Not here: what a socket
// does (sock.c and below it the protocols). Context: main loop, and inside lwIP.

#include <string.h>

#include "hal.h"
#include "lwip/err.h"
#include "lwip/mem.h"
#include "netevent.h"
#include "netmem.h"
#include "sock_internal.h"

sock_t *sock_alloc(int family, int type) {
    sock_t *s = mem_malloc(sizeof *s);
    if (s != NULL) {
        memset(s, 0, sizeof *s);
        s->family = (uint8_t)family;
        s->type = (uint8_t)type;
    }
    return s;
}

void sock_free(sock_t *s) { mem_free(s); }

void sock_changed(sock_t *s) {
    netevent_raise();
    if (s->notify != NULL) {
        s->notify(s->notify_arg);
    }
}

int sock_error_of(int lwip_err) {
    static const int16_t map[] = {
        [0] = 0,
        [-ERR_MEM] = EAGAIN,
        [-ERR_BUF] = ENOBUFS,
        [-ERR_TIMEOUT] = ETIMEDOUT,
        [-ERR_RTE] = EHOSTUNREACH,
        [-ERR_INPROGRESS] = EINPROGRESS,
        [-ERR_VAL] = EINVAL,
        [-ERR_WOULDBLOCK] = EAGAIN,
        [-ERR_USE] = EADDRINUSE,
        [-ERR_ALREADY] = EALREADY,
        [-ERR_ISCONN] = EISCONN,
        [-ERR_CONN] = ENOTCONN,
        [-ERR_IF] = EIO,
        [-ERR_ABRT] = ETIMEDOUT, // lwIP gave up on the peer: we never abort a connection we still watch
        [-ERR_RST] = ECONNRESET,
        [-ERR_CLSD] = ENOTCONN,
        [-ERR_ARG] = EINVAL,
    };
    hal_assert(lwip_err <= 0 && (size_t)-lwip_err < HAL_ARRAY_LEN(map));
    return -map[-lwip_err];
}

int sock_take_error(sock_t *s) {
    int e = s->error;
    s->error = 0;
    return -e;
}

bool sock_addr_fits(const sock_t *s, const ip_addr_t *a) { return s->family == SOCK_AF_INET6 || IP_IS_V4(a); }

void sock_refuse(sock_t *s) {
    s->refused = true;
    s->refused_at = netmem_frees();
    netmem_watch();
}

bool sock_still_refused(const sock_t *s) { return s->refused && s->refused_at == netmem_frees(); }

void sock_unqueue(sock_t *s) {
    sock_t *l = s->listener, *before = NULL;
    for (sock_t *at = l->accept_head; at != s; at = at->accept_next) {
        before = at;
    }
    *(before != NULL ? &before->accept_next : &l->accept_head) = s->accept_next;
    if (l->accept_tail == s) {
        l->accept_tail = before;
    }
    l->accept_count--;
    s->accept_next = NULL;
    s->listener = NULL;
}
