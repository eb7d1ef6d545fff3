// SPDX-License-Identifier: MIT
// Names to addresses with lwIP's DNS client (RFC 1035, 3596): an A and an AAAA question run side by side.
// Owns nothing between queries. Not here: waiting and literal addresses' Python form (mod_socket.c).
// Context: main loop, and inside lwIP (the on_ functions).

#include <string.h>

#include "hal.h"
#include "lwip/dns.h"
#include "lwip/mem.h"
#include "netevent.h"
#include "sock.h"

enum { LABEL_MAX = 63 }; // bytes (RFC 1035, 2.3.4)

static void finish(sock_query_t *q, bool v6, const ip_addr_t *ip) {
    *(v6 ? &q->v6 : &q->v4) = ip != NULL ? 0 : -ENOENT;
    if (ip != NULL) {
        *(v6 ? &q->ip6 : &q->ip4) = *ip;
    }
    netevent_raise();
    sock_query_release(q);
}

static void on_v4(const char *name, const ip_addr_t *ip, void *arg) {
    (void)name;
    finish(arg, false, ip);
}

static void on_v6(const char *name, const ip_addr_t *ip, void *arg) {
    (void)name;
    finish(arg, true, ip);
}

static void ask(sock_query_t *q, const char *name, bool v6) {
    ip_addr_t ip;
    err_t err = dns_gethostbyname_addrtype(name, &ip, v6 ? on_v6 : on_v4, q,
                                           v6 ? LWIP_DNS_ADDRTYPE_IPV6 : LWIP_DNS_ADDRTYPE_IPV4);
    int *state = v6 ? &q->v6 : &q->v4;
    if (err == ERR_INPROGRESS) {
        *state = SOCK_DNS_PENDING;
        q->refs++;
    } else if (err == ERR_OK && (IP_IS_V6(&ip) != 0) == v6) {
        *state = 0;
        *(v6 ? &q->ip6 : &q->ip4) = ip;
    } else {
        *state = err == ERR_MEM ? -EAGAIN : -ENOENT;
    }
}

// Whether it may be asked for: labels of 1 to 63 bytes, a dot behind each but the last, which may have one. Of others
// lwIP would send something else, and ask again and again. No name has a colon, and lwIP takes for an address what
// netcfg_parse() does not.
static bool is_name(const char *text) {
    do {
        size_t n = strcspn(text, ".");
        if (n == 0 || n > LABEL_MAX || memchr(text, ':', n) != NULL) {
            return false;
        }
        text += n;
        text += *text == '.';
    } while (*text != '\0');
    return true;
}

sock_query_t *sock_query_start(const char *name, int family) {
    sock_query_t *q = mem_malloc(sizeof *q);
    if (q == NULL) {
        return NULL;
    }
    memset(q, 0, sizeof *q);
    q->refs = 1;
    q->v4 = q->v6 = -EAFNOSUPPORT;
    if (!is_name(name)) {
        q->v4 = q->v6 = -ENOENT;
        return q;
    }
    if (family != SOCK_AF_INET6) {
        ask(q, name, false);
    }
    if (family != SOCK_AF_INET) {
        ask(q, name, true);
    }
    return q;
}

bool sock_query_done(const sock_query_t *q) { return q->v4 != SOCK_DNS_PENDING && q->v6 != SOCK_DNS_PENDING; }

void sock_query_release(sock_query_t *q) {
    if (--q->refs == 0) {
        mem_free(q);
    }
}
