// SPDX-License-Identifier: MIT
// TCP sockets over lwIP's raw API. Data written is copied into lwIP at once and goes out at the end of the
// batch; data received stays in the buffers it came in until it is read. Nagle's algorithm is off: the batch
// does its work without its delays.
// Owns the list of sockets with data to send. Not here: listening (sock_listen.c), waiting (mod_socket.c).
// Context: main loop, and inside lwIP (the on_ functions).

#include <string.h>

#include "hal.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h" // tcp_ack_now()
#include "lwip/stats.h"
#include "netevent.h"
#include "netglue.h"
#include "netmem.h"
#include "netrand.h"
#include "sock_internal.h"

enum {
    PORT_TRIES = 10,           // then lwIP chooses
    WRITE_CHUNK = 8 * TCP_MSS, // lwIP takes all of a write or nothing
    ORPHAN_TICKS = 100,        // slow timer ticks of 100 ms between looks at a closed connection
};

static sock_t *dirty_list;

static void dirty_remove(sock_t *s) {
    if (!s->dirty) {
        return;
    }
    sock_t **at = &dirty_list;
    while (*at != s) {
        at = &(*at)->dirty_next;
    }
    *at = s->dirty_next;
    s->dirty = false;
}

static void dirty_add(sock_t *s) {
    if (!s->dirty) {
        s->dirty = true;
        s->dirty_next = dirty_list;
        dirty_list = s;
    }
}

// An acknowledgement that lwIP holds back has one turn of the main loop, after all was read, to travel with an answer,
// and then goes alone: a peer with Nagle's algorithm may be waiting for it,
// and 50 ms of lwIP's timer are no use to anybody.
void sock_tcp_flush(void) {
    sock_t *list = dirty_list, *s;
    dirty_list = NULL;
    while ((s = list) != NULL) {
        list = s->dirty_next;
        s->dirty = false;
        struct tcp_pcb *pcb = s->pcb.tcp;
        if (pcb == NULL) {
            continue;
        }
        if (s->ack_new && pcb->unsent == NULL) {
            dirty_add(s);
            netevent_raise(); // there is a next turn
        } else {
            if (pcb->flags & TF_ACK_DELAY) {
                tcp_ack_now(pcb);
            }
            tcp_output(pcb);
        }
        s->ack_new = false;
    }
}

// ---- what lwIP tells us -------------------------------------------------------------------------

static void rx_append(sock_t *s, struct pbuf *p) {
    if (s->rx_head == NULL) {
        s->rx_head = p;
    } else {
        s->rx_tail->next = p;
    }
    while (p->next != NULL) {
        p = p->next;
    }
    s->rx_tail = p;
}

// A connection whose socket is closed: its argument is the last acknowledged number we saw. No progress
// between two looks ends it.
static err_t on_orphan_poll(void *arg, struct tcp_pcb *pcb) {
    void *now = (void *)(uintptr_t)pcb->lastack;
    if (now == arg) {
        tcp_abort(pcb);
        return ERR_ABRT;
    }
    tcp_arg(pcb, now);
    return ERR_OK;
}

// Leave a connection to lwIP: no callback knows a socket any more, and it ends within a bounded time.
static void leave(struct tcp_pcb *pcb) {
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_arg(pcb, (void *)(uintptr_t)pcb->lastack);
    tcp_poll(pcb, on_orphan_poll, ORPHAN_TICKS);
}

// What comes for a connection that is closed while its answer is on its way: dropped until the peer has all of it and
// our FIN. Then a reset says that nobody reads any more; an earlier one would take the answer with it.
static err_t on_late(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    (void)arg;
    (void)err;
    if (p == NULL) {
        return ERR_OK;
    }
    u16_t len = p->tot_len;
    pbuf_free(p);
    if (pcb->state == FIN_WAIT_2) {
        tcp_abort(pcb);
        return ERR_ABRT;
    }
    tcp_recved(pcb, len);
    return ERR_OK;
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    (void)err;
    sock_t *s = arg;
    if (p == NULL) {
        s->eof = true;
        if (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT) {
            // Our FIN is out too. From TIME_WAIT lwIP frees the pcb without a word.
            dirty_remove(s);
            leave(pcb);
            s->pcb.tcp = NULL;
        }
    } else {
        rx_append(s, netglue_keep(p));
    }
    sock_changed(s);
    return ERR_OK;
}

// Not tcp_sndbuf(): that ends at 65535, which is less than half of a large window.
static bool has_send_room(const sock_t *s) {
    return s->pcb.tcp->snd_buf >= TCP_SND_BUF / 2 && tcp_sndqueuelen(s->pcb.tcp) < TCP_SND_QUEUELEN / 2;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len) {
    (void)pcb;
    (void)len;
    sock_t *s = arg;
    if (s->blocked && has_send_room(s)) {
        s->blocked = false;
        sock_changed(s);
    }
    return ERR_OK;
}

// lwIP has freed the pcb already.
static void on_err(void *arg, err_t err) {
    sock_t *s = arg;
    dirty_remove(s);
    s->pcb.tcp = NULL;
    if (err == ERR_CLSD) { // both sides have sent their FIN: no error
        s->eof = true;
    } else {
        bool refused = err == ERR_RST && s->state == SOCK_CONNECTING;
        s->error = refused ? ECONNREFUSED : -sock_error_of(err);
        s->state = SOCK_FAILED;
    }
    if (s->listener != NULL) { // no one knows it yet
        sock_unqueue(s);
        sock_tcp_close(s);
        sock_free(s);
        return;
    }
    sock_changed(s);
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err) {
    (void)pcb;
    (void)err;
    sock_t *s = arg;
    s->state = SOCK_CONNECTED;
    sock_changed(s);
    return ERR_OK;
}

void sock_tcp_adopt(sock_t *s, struct tcp_pcb *pcb) {
    s->pcb.tcp = pcb;
    tcp_arg(pcb, s);
    tcp_recv(pcb, on_recv);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_err);
    tcp_nagle_disable(pcb);
    tcp_setprio(pcb, TCP_PRIO_MAX); // never the victim of a half-open one
}

// ---- verbs --------------------------------------------------------------------------------------

bool sock_tcp_open(sock_t *s) {
    struct tcp_pcb *pcb =
        !netlimit_make_room() ? NULL : tcp_new_ip_type(s->family == SOCK_AF_INET6 ? IPADDR_TYPE_ANY : IPADDR_TYPE_V4);
    if (pcb == NULL) {
        return false;
    }
    s->state = SOCK_NEW;
    sock_tcp_adopt(s, pcb);
    return true;
}

static void drop_received(sock_t *s) {
    for (struct pbuf *p = s->rx_head; p != NULL; p = s->rx_head) {
        s->rx_head = p->next;
        p->next = NULL;
        pbuf_free(p);
    }
    s->rx_offset = 0;
}

void sock_tcp_abort(sock_t *s) {
    if (s->pcb.tcp != NULL) {
        tcp_abort(s->pcb.tcp); // on_err() forgets it
    }
    drop_received(s);
}

// Tell lwIP what was read, so that the window opens again.
static void recved(struct tcp_pcb *pcb, size_t n) {
    while (n > 0) {
        u16_t part = (u16_t)LWIP_MIN(n, 0xffff);
        tcp_recved(pcb, part);
        n -= part;
    }
}

void sock_tcp_close(sock_t *s) {
    dirty_remove(s);
    size_t unread = sock_tcp_readable(s, SIZE_MAX / 2);
    drop_received(s);
    struct tcp_pcb *pcb = s->pcb.tcp;
    s->pcb.tcp = NULL;
    if (pcb == NULL) {
        return;
    }
    leave(pcb);
    err_t err = ERR_OK;
    if (pcb->state < ESTABLISHED || (pcb->unsent == NULL && (unread > 0 || pcb->unacked == NULL))) {
        err = tcp_close(pcb); // resets it if something is unread; what was written is on its way before that
    } else {
        tcp_recv(pcb, on_late);
        recved(pcb, unread);
        if (pcb->state == ESTABLISHED || pcb->state == CLOSE_WAIT) {
            err = tcp_shutdown(pcb, 0, 1);
        }
    }
    if (err != ERR_OK) {
        tcp_abort(pcb);
    }
}

int sock_tcp_bind(sock_t *s, const sock_addr_t *a) {
    if (s->state != SOCK_NEW || s->pcb.tcp->local_port != 0) {
        return -EINVAL;
    }
    return sock_error_of(tcp_bind(s->pcb.tcp, &a->ip, a->port));
}

// A local port nobody guesses; lwIP draws only its first one and counts on from there for all.
static void bind_random(struct tcp_pcb *pcb, const sock_addr_t *to) {
    for (int tries = 0; pcb->local_port == 0 && tries < PORT_TRIES; tries++) {
        tcp_bind(pcb, &pcb->local_ip, netrand_port(&to->ip, to->port));
    }
}

int sock_tcp_connect(sock_t *s, const sock_addr_t *a) {
    switch (s->state) {
        case SOCK_CONNECTING:
            return -EALREADY;
        case SOCK_CONNECTED:
            return -EISCONN;
        case SOCK_LISTENING:
            return -EINVAL;
        case SOCK_FAILED: // try again with a fresh one, as after a refused connection
            drop_received(s);
            s->error = 0;
            s->eof = s->blocked = s->refused = false;
            if (s->pcb.tcp == NULL && !sock_tcp_open(s)) {
                return -ENOMEM;
            }
            break;
        default:
            break;
    }
    bind_random(s->pcb.tcp, a);
    err_t err = tcp_connect(s->pcb.tcp, &a->ip, a->port, on_connected);
    if (err != ERR_OK) {
        return err == ERR_MEM ? -ENOMEM : sock_error_of(err);
    }
    s->state = SOCK_CONNECTING;
    return -EINPROGRESS;
}

int sock_connect_state(sock_t *s) {
    switch (s->state) {
        case SOCK_CONNECTED:
            return 0;
        case SOCK_CONNECTING:
            return -EINPROGRESS;
        case SOCK_FAILED:
            return s->error != 0 ? sock_take_error(s) : -ENOTCONN;
        default:
            return -ENOTCONN;
    }
}

// Why nothing can be sent or received: not connected, not yet, or no longer.
static int unusable(sock_t *s) {
    if (s->error != 0) {
        return sock_take_error(s);
    }
    return s->state == SOCK_CONNECTING ? -EAGAIN : -ENOTCONN;
}

// Memory was refused. If lwIP holds next to nothing, nobody will give it back: that is an error, not a wait.
static int refuse(sock_t *s) {
    netmem_limits_t l;
    netmem_get_limits(&l);
    if (tcp_sndqueuelen(s->pcb.tcp) == 0 && l.used < l.budget / 8) {
        return -ENOMEM;
    }
    sock_refuse(s);
    return -EAGAIN;
}

ssize_t sock_tcp_send(sock_t *s, const void *data, size_t len) {
    if (s->state != SOCK_CONNECTED) {
        return s->state == SOCK_FAILED && s->error == 0 ? -EPIPE : unusable(s);
    }
    struct tcp_pcb *pcb = s->pcb.tcp;
    if (pcb == NULL || (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT)) {
        return -EPIPE;
    }
    if (s->blocked) {
        return -EAGAIN;
    }
    s->refused = false;
    size_t done = 0;
    err_t err = ERR_OK;
    while (done < len) {
        size_t n = LWIP_MIN(len - done, LWIP_MIN((size_t)tcp_sndbuf(pcb), WRITE_CHUNK));
        if (n == 0) {
            break;
        }
        u8_t flags = TCP_WRITE_FLAG_COPY | (done + n < len ? TCP_WRITE_FLAG_MORE : 0);
        err = tcp_write(pcb, (const uint8_t *)data + done, (u16_t)n, flags);
        if (err != ERR_OK) {
            break;
        }
        done += n;
    }
    if (done > 0) {
        dirty_add(s);
        s->blocked = done < len;
        return (ssize_t)done;
    }
    if (len == 0) {
        return 0;
    }
    if (err == ERR_MEM && tcp_sndqueuelen(pcb) < TCP_SND_QUEUELEN / 2) {
        return refuse(s);
    }
    s->blocked = true;
    return err == ERR_OK ? -EAGAIN : sock_error_of(err);
}

size_t sock_tcp_readable(const sock_t *s, size_t max) {
    size_t n = 0;
    for (const struct pbuf *p = s->rx_head; p != NULL && n < max + s->rx_offset; p = p->next) {
        n += p->len;
    }
    return n > 0 ? LWIP_MIN(max, n - s->rx_offset) : 0;
}

ssize_t sock_tcp_recv(sock_t *s, void *out, size_t size) {
    if (s->rx_head == NULL) {
        if (s->state == SOCK_CONNECTED) {
            return s->eof || s->pcb.tcp == NULL ? 0 : -EAGAIN;
        }
        return s->state == SOCK_FAILED && s->error == 0 ? 0 : unusable(s);
    }
    size_t done = 0;
    while (s->rx_head != NULL && done < size) {
        struct pbuf *p = s->rx_head;
        size_t n = LWIP_MIN(size - done, (size_t)(p->len - s->rx_offset));
        memcpy((uint8_t *)out + done, (uint8_t *)p->payload + s->rx_offset, n);
        done += n;
        s->rx_offset = (uint16_t)(s->rx_offset + n);
        if (s->rx_offset == p->len) {
            s->rx_head = p->next;
            s->rx_offset = 0;
            p->next = NULL;
            pbuf_free(p);
        }
    }
    struct tcp_pcb *pcb = s->pcb.tcp;
    if (pcb != NULL) {
        recved(pcb, done);
        if (s->rx_head == NULL && (pcb->flags & TF_ACK_DELAY)) {
            s->ack_new = true;
            dirty_add(s);
        }
    }
    return (ssize_t)done;
}

int sock_tcp_shutdown_write(sock_t *s) {
    if (s->type != SOCK_TYPE_STREAM || s->state != SOCK_CONNECTED || s->pcb.tcp == NULL) {
        return -ENOTCONN;
    }
    err_t err = tcp_shutdown(s->pcb.tcp, 0, 1);
    return err == ERR_CONN ? 0 : sock_error_of(err); // its FIN was sent before
}

unsigned sock_tcp_poll(const sock_t *s) {
    unsigned in = s->rx_head != NULL || s->eof ? SOCK_POLL_IN : 0;
    switch (s->state) {
        case SOCK_NEW:
            return SOCK_POLL_OUT | SOCK_POLL_HUP;
        case SOCK_LISTENING:
            return s->accept_head != NULL ? SOCK_POLL_IN : 0;
        case SOCK_CONNECTING:
            return 0;
        case SOCK_FAILED:
            return SOCK_POLL_IN | SOCK_POLL_OUT | SOCK_POLL_HUP | (s->error != 0 ? SOCK_POLL_ERR : 0);
        default:
            break;
    }
    if (s->pcb.tcp == NULL) {
        return SOCK_POLL_IN | SOCK_POLL_OUT | SOCK_POLL_HUP;
    }
    bool room = tcp_sndbuf(s->pcb.tcp) > 0 && tcp_sndqueuelen(s->pcb.tcp) < TCP_SND_QUEUELEN;
    bool out = room && !s->blocked && !sock_still_refused(s);
    return in | (out ? SOCK_POLL_OUT : 0);
}
