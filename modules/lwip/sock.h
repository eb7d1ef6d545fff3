// SPDX-License-Identifier: MIT
// Sockets over lwIP's raw API, without Python. A sock_t lives on the C heap; lwIP's callbacks know it and
// nothing above it, so an object that points to one may be freed at any time after sock_close().
// sock.c: the verbs. sock_tcp.c, sock_listen.c, sock_udp.c: a protocol each. sock_group.c: multicast. sock_base.c: what
// all of them stand on. sock_dns.c: names.
// Owns nothing itself. Not here: waiting (mod_socket.c): every verb returns at once; what the parts owe each other
// (sock_internal.h).
//
// Errors are -errno; -EAGAIN: not now, nothing changed, try again when sock_poll() or an event says so.
// Context: main loop.

#ifndef FLOE_SOCK_H
#define FLOE_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lwip/ip_addr.h"

struct pbuf;
struct tcp_pcb;
struct udp_pcb;

enum { SOCK_AF_INET = 2, SOCK_AF_INET6 = 10 };
enum { SOCK_TYPE_STREAM = 1, SOCK_TYPE_DGRAM = 2 };
enum { SOCK_POLL_IN = 1, SOCK_POLL_OUT = 4, SOCK_POLL_ERR = 8, SOCK_POLL_HUP = 16 };

typedef enum {
    SOCK_NEW,
    SOCK_LISTENING,
    SOCK_CONNECTING,
    SOCK_CONNECTED,
    SOCK_FAILED, // sock.error says why, until it was reported
} sock_state_t;

typedef struct {
    ip_addr_t ip;
    uint16_t port;
} sock_addr_t;

// A received datagram and where it came from.
typedef struct sock_dgram {
    struct sock_dgram *next;
    struct pbuf *p;
    sock_addr_t from;
} sock_dgram_t;

// What a stream may stand on in place of a connection of lwIP's. Its maker's, who puts it at the head of a struct.
typedef struct sock_backing sock_backing_t;
typedef struct { // each as the socket's verb of that name
    ssize_t (*send)(sock_backing_t *b, const void *data, size_t len);
    ssize_t (*recv)(sock_backing_t *b, void *out, size_t size);
    ssize_t (*readable)(sock_backing_t *b, size_t max);
    unsigned (*poll)(sock_backing_t *b);
    int (*shutdown_write)(sock_backing_t *b);
    void (*close)(sock_backing_t *b); // frees it; may be called while memory is collected
} sock_backing_ops_t;
struct sock_backing {
    const sock_backing_ops_t *ops;
    sock_addr_t peer;
};

typedef struct sock {
    uint8_t family, type;
    uint8_t state; // sock_state_t
    bool eof;      // the peer sends no more
    int error;     // positive errno to report once, 0 for none
    union {
        struct tcp_pcb *tcp; // NULL once lwIP has freed it
        struct udp_pcb *udp;
    } pcb;
    sock_backing_t *backing; // NULL: lwIP
    uint32_t refused_at;     // netmem_frees() when memory was last refused
    bool refused;            // memory was, and see refused_at
    bool blocked;            // send queue was full: wait until it is half empty
    bool dirty;              // in the list of sockets whose data or acknowledgement waits for the end of the batch
    bool ack_new;            // the acknowledgement waits for the next one
    struct sock *dirty_next;
    // TCP: received and not yet read; each pbuf is ours with one reference, linked by next (tot_len unused).
    struct pbuf *rx_head, *rx_tail;
    uint16_t rx_offset; // bytes of rx_head already read
    // TCP, listening: connections to accept, oldest first. And in such a connection: its listener.
    struct sock *accept_head, *accept_tail, *accept_next, *listener;
    uint16_t accept_count, backlog;
    uint32_t accept_tick; // when one was accepted last, or the first of those that wait came (500 ms)
    // UDP: datagrams, oldest first.
    sock_dgram_t *dgram_head, *dgram_tail;
    uint32_t dgram_bytes;
    struct sock_group *groups;
    // Called when the socket may have become readable or writable; cleared by sock_close().
    void (*notify)(void *arg);
    void *notify_arg;
} sock_t;

// ---- verbs --------------------------------------------------------------------------------------
// A new socket of a family and type. The caller owns it and ends it with sock_close(). NULL: no memory.
sock_t *sock_new(int family, int type);
// Release all. What is queued to be sent still goes out; a connection that makes no progress for 20 s is reset.
void sock_close(sock_t *s);
// Go on, connected, as a stream over this; a connection that is still there is reset.
void sock_stand_on(sock_t *s, sock_backing_t *b);
int sock_bind(sock_t *s, const sock_addr_t *a);
int sock_listen(sock_t *s, int backlog);
// The oldest waiting connection; the caller owns *out. -EAGAIN: none.
int sock_accept(sock_t *s, sock_t **out, sock_addr_t *peer);
// -EINPROGRESS: begun. sock_connect_state() tells how it went: 0 connected, -EINPROGRESS, or why it failed.
int sock_connect(sock_t *s, const sock_addr_t *a);
int sock_connect_state(sock_t *s);
// Bytes taken, -errno. to: NULL, or for UDP the destination. Data is copied: the buffer stays the caller's.
ssize_t sock_send(sock_t *s, const void *data, size_t len, const sock_addr_t *to);
// Bytes copied out, 0 at the end of a stream, -errno. Of a datagram what does not fit is lost. from: NULL, or filled in
// for UDP.
ssize_t sock_recv(sock_t *s, void *out, size_t size, sock_addr_t *from);
// How much of max bytes sock_recv() would give at once; 0: an empty datagram, or the end of a stream; -EAGAIN:
// nothing yet; -errno.
ssize_t sock_readable(sock_t *s, size_t max);
int sock_shutdown_write(sock_t *s);
// SOCK_POLL_* that hold now.
unsigned sock_poll(const sock_t *s);
// The other end of a connected socket; the unspecified address when there is none.
void sock_peer(const sock_t *s, sock_addr_t *out);
int sock_set_reuse(sock_t *s, bool on);
int sock_set_broadcast(sock_t *s, bool on);
int sock_set_keepalive(sock_t *s, bool on);
// Use this network card alone, whatever routes say: datagrams and connections of others are not for this socket. card:
// its number, -1: any. -ENODEV: there is none.
int sock_set_card(sock_t *s, int card);
int sock_set_nodelay(sock_t *s, bool on);
// How far packets go, of a UDP socket those to groups apart: 1 to 255 (groups: from 0), -1: as far as they can.
int sock_set_hops(sock_t *s, long hops, bool multicast);
int sock_set_multicast_loop(sock_t *s, bool on); // whether this machine's members of a group hear it, too
// Join or leave a multicast group on the interface with this address (any: the default one). -EADDRINUSE: joined
// already; -EADDRNOTAVAIL: not joined. sock_close() leaves all.
int sock_membership(sock_t *s, const ip_addr_t *group, const ip_addr_t *interface, bool join);

// For the main loop, once a turn: lwIP sends what was written since the last time, so that small writes of one turn
// share segments.
void sock_tcp_flush(void);

// In a copy of a VM: drop the datagrams that came for the other one and were not read.
void sock_udp_copied(void);

// ---- sock_dns.c ---------------------------------------------------------------------------------
enum { SOCK_DNS_PENDING = 1 };
typedef struct {
    int refs;   // the caller's, and one for lwIP while a query runs
    int v4, v6; // 0 found, -errno, SOCK_DNS_PENDING, -EAFNOSUPPORT when not asked for
    ip_addr_t ip4, ip6;
} sock_query_t;
// Ask for addresses of name; family 0 means both. The caller owns the result and releases it. NULL: no memory.
sock_query_t *sock_query_start(const char *name, int family);
bool sock_query_done(const sock_query_t *q);
void sock_query_release(sock_query_t *q);

#endif
