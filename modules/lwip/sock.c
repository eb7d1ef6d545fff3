// SPDX-License-Identifier: MIT
// The verbs of a socket, dispatched to its protocol; options. Above all other parts of a socket. Owns no state. Not
// here: the protocols (sock_tcp.c, sock_listen.c, sock_udp.c), groups (sock_group.c), what they stand on (sock_base.c).
// Context: main loop.

#include "sock.h"

#include "hal.h"
#include "lwip/pbuf.h"
#include "lwip/tcp.h"
#include "lwip/udp.h"
#include "netglue.h"
#include "sock_internal.h"

sock_t *sock_new(int family, int type) {
    sock_t *s = sock_alloc(family, type);
    if (s != NULL && !(type == SOCK_TYPE_STREAM ? sock_tcp_open(s) : sock_udp_open(s))) {
        sock_free(s);
        return NULL;
    }
    return s;
}

void sock_close(sock_t *s) {
    s->notify = NULL;
    if (s->backing != NULL) {
        s->backing->ops->close(s->backing);
    } else if (s->type == SOCK_TYPE_DGRAM) {
        sock_leave_groups(s);
        sock_udp_close(s);
    } else if (s->state == SOCK_LISTENING) {
        sock_listen_close(s);
    } else {
        sock_tcp_close(s);
    }
    sock_free(s);
}

void sock_stand_on(sock_t *s, sock_backing_t *b) {
    sock_tcp_abort(s);
    s->state = SOCK_CONNECTED;
    s->error = 0;
    s->eof = false;
    s->backing = b;
}

int sock_bind(sock_t *s, const sock_addr_t *a) {
    if (!sock_addr_fits(s, &a->ip)) {
        return -EAFNOSUPPORT;
    }
    // A v6 socket on the unspecified address serves both kinds.
    sock_addr_t b = *a;
    if (s->family == SOCK_AF_INET6 && ip_addr_isany(&b.ip)) {
        b.ip = *IP_ANY_TYPE;
    }
    return s->type == SOCK_TYPE_STREAM ? sock_tcp_bind(s, &b) : sock_udp_bind(s, &b);
}

int sock_connect(sock_t *s, const sock_addr_t *a) {
    if (!sock_addr_fits(s, &a->ip)) {
        return -EAFNOSUPPORT;
    }
    return s->type == SOCK_TYPE_STREAM ? sock_tcp_connect(s, a) : sock_udp_connect(s, a);
}

ssize_t sock_readable(sock_t *s, size_t max) {
    if (s->backing != NULL) {
        return s->backing->ops->readable(s->backing, max);
    }
    if (s->type == SOCK_TYPE_STREAM) {
        return s->rx_head != NULL ? (ssize_t)sock_tcp_readable(s, max) : sock_tcp_recv(s, NULL, 0);
    }
    return s->dgram_head != NULL ? (ssize_t)LWIP_MIN(max, (size_t)s->dgram_head->p->tot_len) : -EAGAIN;
}

ssize_t sock_recv(sock_t *s, void *out, size_t size, sock_addr_t *from) {
    if (s->backing != NULL) {
        return s->backing->ops->recv(s->backing, out, size);
    }
    return s->type == SOCK_TYPE_STREAM ? sock_tcp_recv(s, out, size) : sock_udp_recv(s, out, size, from);
}

ssize_t sock_send(sock_t *s, const void *data, size_t len, const sock_addr_t *to) {
    if (s->backing != NULL) {
        return s->backing->ops->send(s->backing, data, len);
    }
    return s->type == SOCK_TYPE_STREAM ? sock_tcp_send(s, data, len) : sock_udp_send(s, data, len, to);
}

void sock_peer(const sock_t *s, sock_addr_t *out) {
    *out = s->backing != NULL ? s->backing->peer : (sock_addr_t){*IP4_ADDR_ANY, 0};
    if (s->state != SOCK_CONNECTED || s->pcb.tcp == NULL) {
        return;
    }
    out->ip = s->pcb.tcp->remote_ip; // first members of both kinds of pcb (IP_PCB)
    out->port = s->type == SOCK_TYPE_STREAM ? s->pcb.tcp->remote_port : s->pcb.udp->remote_port;
}

int sock_shutdown_write(sock_t *s) {
    return s->backing != NULL ? s->backing->ops->shutdown_write(s->backing) : sock_tcp_shutdown_write(s);
}

unsigned sock_poll(const sock_t *s) {
    if (s->backing != NULL) {
        return s->backing->ops->poll(s->backing);
    }
    if (s->type == SOCK_TYPE_STREAM) {
        return sock_tcp_poll(s);
    }
    return (sock_still_refused(s) ? 0 : SOCK_POLL_OUT) | (s->dgram_head != NULL ? SOCK_POLL_IN : 0);
}

static int set_option(sock_t *s, u8_t option, bool on) {
    if (s->pcb.tcp == NULL) {
        return -EINVAL;
    }
    // Both kinds of pcb begin with the same members (IP_PCB).
    struct ip_pcb *pcb = (struct ip_pcb *)(void *)s->pcb.tcp;
    if (on) {
        ip_set_option(pcb, option);
    } else {
        ip_reset_option(pcb, option);
    }
    return 0;
}

int sock_set_reuse(sock_t *s, bool on) { return set_option(s, SOF_REUSEADDR, on); }

int sock_set_broadcast(sock_t *s, bool on) { return set_option(s, SOF_BROADCAST, on); }

int sock_set_keepalive(sock_t *s, bool on) { return set_option(s, SOF_KEEPALIVE, on); }

int sock_set_card(sock_t *s, int card) {
    netglue_t *g = card >= 0 ? netglue_get((unsigned)card) : NULL;
    if (card >= 0 && g == NULL) {
        return -ENODEV;
    }
    if (s->pcb.tcp == NULL) {
        return -EINVAL;
    }
    struct ip_pcb *pcb = (struct ip_pcb *)(void *)s->pcb.tcp; // as above; udp_bind_netif() is the same
    pcb->netif_idx = g == NULL ? NETIF_NO_INDEX : netif_get_index(&g->netif);
    return 0;
}

int sock_set_nodelay(sock_t *s, bool on) {
    if (s->type != SOCK_TYPE_STREAM) {
        return -EINVAL;
    }
    if (s->pcb.tcp == NULL || s->state == SOCK_LISTENING) {
        return 0; // gone already, or set again on each accepted connection by the script
    }
    if (on) {
        tcp_nagle_disable(s->pcb.tcp);
    } else {
        tcp_nagle_enable(s->pcb.tcp);
    }
    return 0;
}

int sock_set_hops(sock_t *s, long hops, bool multicast) {
    hops = hops == -1 ? UDP_TTL : hops;
    if (hops < (multicast ? 0 : 1) || hops > UINT8_MAX || s->pcb.tcp == NULL ||
        (multicast && s->type != SOCK_TYPE_DGRAM)) {
        return -EINVAL;
    }
    if (multicast) {
        udp_set_multicast_ttl(s->pcb.udp, (u8_t)hops);
    } else {
        s->pcb.tcp->ttl = (u8_t)hops; // of both kinds of pcb (IP_PCB)
    }
    return 0;
}

int sock_set_multicast_loop(sock_t *s, bool on) {
    if (s->type != SOCK_TYPE_DGRAM) {
        return -EINVAL;
    }
    udp_set_flags(s->pcb.udp, UDP_FLAGS_MULTICAST_LOOP);
    if (!on) {
        udp_clear_flags(s->pcb.udp, UDP_FLAGS_MULTICAST_LOOP);
    }
    return 0;
}
