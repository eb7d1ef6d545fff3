// SPDX-License-Identifier: MIT
// Multicast groups of a UDP socket: joined for as long as the socket is open, unless it leaves before (IGMP, MLD).
// Owns each socket's list of memberships. Not here: delivery, which goes by address and port alone. Context: main loop.

#include "hal.h"
#include "lwip/igmp.h"
#include "lwip/mem.h"
#include "lwip/mld6.h"
#include "sock_internal.h"

struct sock_group {
    struct sock_group *next;
    ip_addr_t group, interface;
};

static err_t change(const ip_addr_t *group, const ip_addr_t *interface, bool join) {
    if (IP_IS_V6(group)) {
        const ip6_addr_t *from = IP_IS_V6(interface) ? ip_2_ip6(interface) : IP6_ADDR_ANY6;
        return join ? mld6_joingroup(from, ip_2_ip6(group)) : mld6_leavegroup(from, ip_2_ip6(group));
    }
    const ip4_addr_t *from = IP_IS_V4(interface) ? ip_2_ip4(interface) : IP4_ADDR_ANY4;
    return join ? igmp_joingroup(from, ip_2_ip4(group)) : igmp_leavegroup(from, ip_2_ip4(group));
}

static struct sock_group **find(sock_t *s, const ip_addr_t *group, const ip_addr_t *interface) {
    struct sock_group **g = &s->groups;
    while (*g != NULL && !(ip_addr_eq(&(*g)->group, group) && ip_addr_eq(&(*g)->interface, interface))) {
        g = &(*g)->next;
    }
    return g;
}

static int join(sock_t *s, const ip_addr_t *group, const ip_addr_t *interface) {
    if (*find(s, group, interface) != NULL) {
        return -EADDRINUSE;
    }
    struct sock_group *g = mem_malloc(sizeof *g);
    if (g == NULL) {
        return -ENOMEM;
    }
    err_t err = change(group, interface, true);
    if (err != ERR_OK) {
        mem_free(g);
        return err == ERR_VAL ? -ENODEV : err == ERR_MEM ? -ENOMEM : sock_error_of(err);
    }
    *g = (struct sock_group){s->groups, *group, *interface};
    s->groups = g;
    return 0;
}

static void leave(struct sock_group **at) {
    struct sock_group *g = *at;
    change(&g->group, &g->interface, false);
    *at = g->next;
    mem_free(g);
}

int sock_membership(sock_t *s, const ip_addr_t *group, const ip_addr_t *interface, bool joining) {
    if (s->type != SOCK_TYPE_DGRAM || !ip_addr_ismulticast(group)) {
        return -EINVAL;
    }
    if (joining) {
        return join(s, group, interface);
    }
    struct sock_group **at = find(s, group, interface);
    if (*at == NULL) {
        return -EADDRNOTAVAIL;
    }
    leave(at);
    return 0;
}

void sock_leave_groups(sock_t *s) {
    while (s->groups != NULL) {
        leave(&s->groups);
    }
}
