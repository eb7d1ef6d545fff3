// SPDX-License-Identifier: MIT
// UDP sockets over lwIP's raw API. Datagrams wait in the buffers they came in; when a socket holds more than
// its share, new ones are dropped, as UDP may.
// Owns no state. Not here: options (sock.c), groups (sock_group.c). Context: main loop, and inside lwIP (on_recv).

#include <string.h>

#include "hal.h"
#include "lwip/mem.h"
#include "lwip/pbuf.h"
#include "lwip/udp.h"
#include "netglue.h"
#include "netmem.h"
#include "sock_internal.h"

// What a datagram costs besides its bytes counts too, or empty ones would be free.
static uint32_t cost_of(const struct pbuf *p) { return p->tot_len + 128u; }

static void push(sock_t *s, sock_dgram_t *d) {
    d->next = NULL;
    if (s->dgram_tail != NULL) {
        s->dgram_tail->next = d;
    } else {
        s->dgram_head = d;
    }
    s->dgram_tail = d;
    s->dgram_bytes += cost_of(d->p);
}

static void on_recv(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *ip, u16_t port) {
    (void)pcb;
    sock_t *s = arg;
    sock_dgram_t *d = NULL;
    if (s->dgram_bytes + cost_of(p) <= TCP_WND) {
        d = mem_malloc(sizeof *d);
    }
    if (d == NULL) {
        pbuf_free(p);
        return;
    }
    d->p = netglue_keep(p);
    d->from = (sock_addr_t){*ip, port};
    push(s, d);
    sock_changed(s);
}

static sock_dgram_t *pop(sock_t *s) {
    sock_dgram_t *d = s->dgram_head;
    s->dgram_head = d->next;
    if (d->next == NULL) {
        s->dgram_tail = NULL;
    }
    s->dgram_bytes -= cost_of(d->p);
    return d;
}

bool sock_udp_open(sock_t *s) {
    s->pcb.udp = udp_new_ip_type(s->family == SOCK_AF_INET6 ? IPADDR_TYPE_ANY : IPADDR_TYPE_V4);
    if (s->pcb.udp == NULL) {
        return false;
    }
    udp_recv(s->pcb.udp, on_recv, s);
    return true;
}

static void drop(sock_dgram_t *d) {
    pbuf_free(d->p);
    mem_free(d);
}

void sock_udp_close(sock_t *s) {
    while (s->dgram_head != NULL) {
        drop(pop(s));
    }
    udp_remove(s->pcb.udp);
}

void sock_udp_copied(void) {
    for (struct udp_pcb *u = udp_pcbs; u != NULL; u = u->next) {
        sock_t *s = u->recv_arg;
        if (u->recv != on_recv) {
            continue;
        }
        sock_dgram_t *all = s->dgram_head, *next;
        s->dgram_head = s->dgram_tail = NULL;
        s->dgram_bytes = 0;
        for (sock_dgram_t *d = all; d != NULL; d = next) {
            next = d->next;
            if (ip_addr_isloopback(&d->from.ip)) {
                push(s, d);
            } else {
                drop(d);
            }
        }
    }
}

int sock_udp_bind(sock_t *s, const sock_addr_t *a) {
    if (s->pcb.udp->local_port != 0) {
        return -EINVAL;
    }
    return sock_error_of(udp_bind(s->pcb.udp, &a->ip, a->port));
}

int sock_udp_connect(sock_t *s, const sock_addr_t *a) {
    int r = sock_error_of(udp_connect(s->pcb.udp, &a->ip, a->port));
    if (r == 0) {
        s->state = SOCK_CONNECTED;
    }
    return r;
}

ssize_t sock_udp_send(sock_t *s, const void *data, size_t len, const sock_addr_t *to) {
    if (to == NULL && s->state != SOCK_CONNECTED) {
        return -ENOTCONN;
    }
    if (to != NULL && !sock_addr_fits(s, &to->ip)) {
        return -EAFNOSUPPORT;
    }
    if (len > UINT16_MAX - 48) { // a 16-bit length with IPv6 and UDP headers
        return -EMSGSIZE;
    }
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
    if (p == NULL) {
        sock_refuse(s);
        return -EAGAIN;
    }
    memcpy(p->payload, data, len);
    err_t err = to == NULL ? udp_send(s->pcb.udp, p) : udp_sendto(s->pcb.udp, p, &to->ip, to->port);
    pbuf_free(p);
    s->refused = false;
    if (err == ERR_MEM) {
        sock_refuse(s);
    }
    if (err == ERR_VAL) { // lwIP's word for a broadcast that was not allowed
        return -EACCES;
    }
    return err == ERR_OK ? (ssize_t)len : sock_error_of(err);
}

ssize_t sock_udp_recv(sock_t *s, void *out, size_t size, sock_addr_t *from) {
    if (s->dgram_head == NULL) {
        return -EAGAIN;
    }
    sock_dgram_t *d = pop(s);
    u16_t n = pbuf_copy_partial(d->p, out, (u16_t)LWIP_MIN(size, UINT16_MAX), 0);
    if (from != NULL) {
        *from = d->from;
    }
    drop(d);
    return n;
}
