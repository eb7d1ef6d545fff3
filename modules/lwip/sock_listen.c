// SPDX-License-Identifier: MIT
// Listening TCP sockets: connections wait here, already receiving, until they are accepted. While as many
// wait as the backlog allows, and none of them has been accepted for a while, further SYNs are ignored and their
// senders repeat them (netsyn.c). Clients that come together are all let in: no program had a turn in between.
// Owns the queues. Not here: connections (sock_tcp.c). Context: main loop, and inside lwIP (on_accept).

#include "hal.h"
#include "lwip/priv/tcp_priv.h"
#include "netmem.h"
#include "sock_internal.h"

enum { BACKLOG_DEFAULT = 128, BACKLOG_MAX = 255, HALF_OPEN_MAX = 255, STALLED_TICKS = 2 }; // of 500 ms

static bool queue_full(void *listener) {
    const sock_t *s = listener;
    return s != NULL && s->accept_count >= s->backlog && tcp_ticks - s->accept_tick >= STALLED_TICKS;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
    sock_t *l = arg;
    if (err != ERR_OK || pcb == NULL || l == NULL) {
        return ERR_VAL;
    }
    sock_t *s = sock_alloc(l->family, SOCK_TYPE_STREAM);
    if (s == NULL) {
        return ERR_MEM; // lwIP resets the connection
    }
    s->state = SOCK_CONNECTED;
    sock_tcp_adopt(s, pcb);
    tcp_backlog_delayed(pcb);
    s->listener = l;
    if (l->accept_tail != NULL) {
        l->accept_tail->accept_next = s;
    } else {
        l->accept_head = s;
        l->accept_tick = tcp_ticks;
    }
    l->accept_tail = s;
    l->accept_count++;
    sock_changed(l);
    return ERR_OK;
}

int sock_listen(sock_t *s, int backlog) {
    if (s->type != SOCK_TYPE_STREAM) {
        return -EOPNOTSUPP;
    }
    if (s->state != SOCK_NEW && s->state != SOCK_LISTENING) {
        return -EINVAL;
    }
    s->backlog = (uint16_t)(backlog < 0 ? BACKLOG_DEFAULT : backlog == 0 ? 1 : LWIP_MIN(backlog, BACKLOG_MAX));
    if (s->state == SOCK_LISTENING) {
        return 0;
    }
    netlimit_queue_full = queue_full;
    struct tcp_pcb *pcb = s->pcb.tcp;
    err_t err = ERR_OK;
    if (pcb->local_port == 0) {
        err = tcp_bind(pcb, s->family == SOCK_AF_INET6 ? IP_ANY_TYPE : IP4_ADDR_ANY, 0);
    }
    if (err == ERR_OK) {
        tcp_setprio(pcb, TCP_PRIO_NORMAL); // half-open connections inherit it
        pcb = tcp_listen_with_backlog_and_err(pcb, HALF_OPEN_MAX, &err);
    }
    if (err != ERR_OK) {
        return err == ERR_MEM ? -ENOMEM : sock_error_of(err);
    }
    s->pcb.tcp = pcb;
    s->state = SOCK_LISTENING;
    tcp_arg(pcb, s);
    tcp_accept(pcb, on_accept);
    return 0;
}

int sock_accept(sock_t *s, sock_t **out, sock_addr_t *peer) {
    if (s->state != SOCK_LISTENING) {
        return -EINVAL;
    }
    sock_t *c = s->accept_head;
    if (c == NULL) {
        return -EAGAIN;
    }
    sock_unqueue(c);
    s->accept_tick = tcp_ticks;
    tcp_backlog_accepted(c->pcb.tcp);
    peer->ip = c->pcb.tcp->remote_ip;
    peer->port = c->pcb.tcp->remote_port;
    *out = c;
    return 0;
}

void sock_listen_close(sock_t *s) {
    while (s->accept_head != NULL) {
        sock_t *c = s->accept_head;
        sock_unqueue(c);
        struct tcp_pcb *waiting = c->pcb.tcp;
        tcp_err(waiting, NULL);
        tcp_recv(waiting, NULL);
        tcp_sent(waiting, NULL);
        c->pcb.tcp = NULL;
        tcp_abort(waiting);
        sock_tcp_close(c);
        sock_free(c);
    }
    tcp_arg(s->pcb.tcp, NULL);
    tcp_close(s->pcb.tcp);
    s->pcb.tcp = NULL;
}
