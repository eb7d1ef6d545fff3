// SPDX-License-Identifier: MIT
// Checks of a stack that has become a copy of another machine's. Owns nothing. Not here: the machine (rig.c), the far
// end of connections (peer.c). Context: one thread on the host.

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "lwip/udp.h"
#include "netcfg.h"
#include "netcopied.h"
#include "netevent.h"
#include "netglue.h"
#include "nethooks.h"
#include "netrand.h"
#include "peer.h"

enum { NEW_IP = 0x0a000009, DNS_PORT = 53, ETH_ARP = 0x0806, ETH_IP4 = 0x0800, UDP = 17 };

static const uint8_t new_mac[NETDEV_MAC_LEN] = {2, 0, 0, 0, 0, 9};
static struct {
    unsigned frames, tcp, old_mac, old_ip, announced, discovers;
    uint16_t dns_id, dns_port;
    unsigned asked;
} seen;

static void look(const sent_t *f) {
    const uint8_t *p = f->data;
    uint16_t type = get16(p + 12);
    seen.frames++;
    seen.old_mac += memcmp(p + 6, "\2\0\0\0\0\2", NETDEV_MAC_LEN) == 0;
    if (type == ETH_ARP) {
        seen.old_ip += get32(p + 28) == OUR_IP;
        seen.announced += get32(p + 28) == get32(p + 38) && memcmp(p + 22, p + 6, NETDEV_MAC_LEN) == 0;
    } else if (type == ETH_IP4) {
        seen.old_ip += get32(p + 26) == OUR_IP;
        seen.tcp += p[23] == 6;
        if (p[23] == UDP && get16(p + 36) == DNS_PORT) {
            seen.dns_port = get16(p + 34);
            seen.dns_id = get16(p + 42);
            seen.asked++;
        }
        seen.discovers += p[23] == UDP && get16(p + 36) == 67 && p[42] == 1;
    }
}

static const char *told_ip6 = "";

static void become(const char *ip, const uint8_t *mac) {
    hal_identity_t id = {.pid = 2, .ppid = 1, .name = "a-machine-with-quite-a-long-name.17"};
    strcpy(id.card[0].ip, ip);
    strcpy(id.card[0].ip6, told_ip6);
    if (mac != NULL) {
        id.card[0].has_mac = true;
        memcpy(id.card[0].mac, mac, NETDEV_MAC_LEN);
    }
    memset(&seen, 0, sizeof seen);
    on_sent = look;
    hal_copied_became(&id);
}

static unsigned told;

static void tell(void *arg) {
    (void)arg;
    told++;
}

// Connections of every kind, with data on its way in both directions: they end, each with its error, and not one
// segment leaves; who listens goes on.
void copied(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    uint8_t buf[64];
    peer_send(TH_ACK | TH_PSH, "not for us", 10);
    rig_sleep_ms(10);
    s->notify = tell;
    peer_connect(PEER_PORT + 1); // nobody has accepted it
    peer_connect(PEER_PORT + 2);
    sock_t *last;
    sock_addr_t from;
    CHECK(sock_accept(l, &last, &from) == 0);
    sock_t *out = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM);
    sock_addr_t to = {IPADDR4_INIT(0), 9};
    CHECK(ipaddr_aton("10.0.0.1", &to.ip) && sock_connect(out, &to) == -EINPROGRESS);
    rig_sleep_ms(10);
    peer.silent = true;
    CHECK(sock_send(last, "never to leave", 14, NULL) == 14 && sock_send(s, "nor this", 8, NULL) == 8);
    peer_send(TH_ACK | TH_PSH, "a frame in the card", 19);
    become("", NULL);
    CHECK(told == 1 && (sock_poll(s) & SOCK_POLL_ERR) != 0);
    CHECK(sock_recv(s, buf, sizeof buf, NULL) == -ECONNRESET && sock_recv(s, buf, sizeof buf, NULL) == 0);
    CHECK(sock_send(s, "x", 1, NULL) == -EPIPE && sock_connect_state(out) == -ENOTCONN);
    CHECK(sock_accept(l, &s, &from) == -EAGAIN);
    CHECK(sock_shutdown_write(last) == -ENOTCONN);
    sock_close(s);
    sock_close(last);
    sock_close(out);
    rig_sleep_ms(60000);
    CHECK(seen.tcp == 0 && seen.frames > 0 && seen.announced == 1);
    CHECK(strcmp(netcfg_hostname(), "achine-with-quite-a-long-name-17") == 0);
    s = accepted(l, PEER_PORT); // the same pair as before: of another machine
    peer_send(TH_ACK | TH_PSH, "for us", 6);
    rig_sleep_ms(10);
    CHECK(sock_recv(s, buf, sizeof buf, NULL) == 6);
    sock_close(s);
    sock_close(l);
    peer_send(TH_ACK | TH_FIN, NULL, 0);
    nothing_left();
}

// A connection between two sockets of this machine: both ends were copied.
void copied_inside(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5), *c = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM), *s;
    sock_addr_t to = {IPADDR4_INIT(0), PORT}, from;
    uint8_t buf[64];
    CHECK(ipaddr_aton("127.0.0.1", &to.ip) && sock_connect(c, &to) == -EINPROGRESS);
    rig_sleep_ms(10);
    CHECK(sock_accept(l, &s, &from) == 0 && sock_send(c, "before", 6, NULL) == 6);
    become("10.0.0.9/24", new_mac);
    CHECK(sock_send(s, "after", 5, NULL) == 5);
    rig_sleep_ms(10);
    CHECK(sock_recv(c, buf, sizeof buf, NULL) == 5 && sock_recv(s, buf, sizeof buf, NULL) == 6);
    sock_close(c);
    sock_close(s);
    sock_close(l);
    nothing_left();
}

// Another MAC and IP address: nothing leaves with the old ones, neighbours are told, whoever listened at the old
// address is found at the new one.
void copied_card(void) {
    rig_start(RAM, 0);
    sock_t *l = sock_new(SOCK_AF_INET, SOCK_TYPE_STREAM), *u = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_addr_t at = {IPADDR4_INIT(0), PORT}, peer_at = {IPADDR4_INIT(0), 7};
    CHECK(ipaddr_aton("10.0.0.2", &at.ip) && ipaddr_aton("10.0.0.1", &peer_at.ip));
    CHECK(sock_bind(l, &at) == 0 && sock_listen(l, 5) == 0 && sock_bind(u, &at) == 0);
    CHECK(sock_send(u, "queued, and dropped", 19, &peer_at) == 19);
    become("10.0.0.9/24", new_mac);
    CHECK(memcmp(card.mac, new_mac, NETDEV_MAC_LEN) == 0);
    rig_sleep_ms(5000); // the link-local address is looked for and found free
    CHECK(sock_send(u, "x", 1, &peer_at) == 1);
    rig_sleep_ms(100);
    CHECK(seen.frames > 2 && seen.old_mac == 0 && seen.old_ip == 0 && seen.announced == 1);
    struct netif *n = netif_default;
    CHECK(lwip_ntohl(ip4_addr_get_u32(netif_ip4_addr(n))) == NEW_IP);
    CHECK(lwip_ntohl(ip4_addr_get_u32(netif_ip4_gw(n))) == PEER_IP);
    CHECK(ip6_addr_ispreferred(netif_ip6_addr_state(n, 0)));
    CHECK(lwip_ntohl(netif_ip6_addr(n, 0)->addr[3]) == 0xfe000009);
    CHECK(lwip_ntohl(ip4_addr_get_u32(ip_2_ip4(&l->pcb.tcp->local_ip))) == NEW_IP);
    CHECK(lwip_ntohl(ip4_addr_get_u32(ip_2_ip4(&u->pcb.udp->local_ip))) == NEW_IP);
    uint8_t arp[64]; // and who asks for the new address is answered with the new one
    make_arp(arp, 1, PEER_IP);
    put32(arp + 38, NEW_IP);
    memset(&seen, 0, sizeof seen);
    rig_receive(arp, 42, false, 1);
    rig_sleep_ms(10);
    CHECK(seen.frames == 1 && seen.old_mac == 0);
    sock_close(l);
    sock_close(u);
}

// On a network that the other machine is on, too, nothing is left of addresses that were set there and not told here.
void copied_fixed(void) {
    rig_start(RAM, 0);
    struct netif *n = netif_default;
    sock_t *l = sock_new(SOCK_AF_INET6, SOCK_TYPE_STREAM);
    sock_addr_t at = {IPADDR4_INIT(0), PORT};
    ip_addr_t next;
    CHECK(ipaddr_aton("2001:db8::2", &at.ip) && ipaddr_aton("2001:db8::9", &next));
    CHECK(netcfg_set_ip6(n, ip_2_ip6(&at.ip)) && sock_bind(l, &at) == 0 && sock_listen(l, 5) == 0);
    become("", NULL);
    CHECK(netif_get_ip6_addr_match(n, ip_2_ip6(&at.ip)) > 0 && !ip4_addr_isany_val(*netif_ip4_addr(n)));
    told_ip6 = "10.0.0.7/24"; // is none
    become("", NULL);
    CHECK(netif_get_ip6_addr_match(n, ip_2_ip6(&at.ip)) > 0);
    netglue_get(0)->draws = 3; // of the old MAC address's
    told_ip6 = "2001:db8::9/64";
    become("10.0.0.9/24", new_mac);
    told_ip6 = "";
    CHECK(netif_get_ip6_addr_match(n, ip_2_ip6(&at.ip)) < 0 && netif_get_ip6_addr_match(n, ip_2_ip6(&next)) > 0);
    CHECK(netglue_get(0)->draws == 0);
    CHECK(ip_addr_eq(&l->pcb.tcp->local_ip, &next));
    become("", new_mac);
    CHECK(netif_get_ip6_addr_match(n, ip_2_ip6(&next)) < 0 && ip_addr_isany_val(l->pcb.tcp->local_ip));
    rig_sleep_ms(5000);
    CHECK(netif_is_up(n) && ip4_addr_isany_val(*netif_ip4_addr(n)) && seen.old_mac == 0 && seen.old_ip == 0);
    CHECK(seen.frames > 0 && ip6_addr_ispreferred(netif_ip6_addr_state(n, 0)));
    sock_close(l);
}

// A lease is asked for anew; the one before is the other machine's, and not released.
void copied_lease(void) {
    rig_start(RAM, 0);
    become("dhcp", new_mac);
    CHECK(ip4_addr_isany_val(*netif_ip4_addr(netif_default)));
    rig_sleep_ms(3000);
    CHECK(seen.discovers > 0 && seen.old_mac == 0 && seen.old_ip == 0);
    become("none", NULL);
    rig_sleep_ms(3000);
    CHECK(seen.frames == 0 && !netif_is_up(netif_default));
    netevent_take();
    become("", NULL);
    CHECK(netevent_take()); // whoever waits looks again, though no card has changed
}

// What name servers have said is forgotten; an open question is asked again, with an id and from a port that nobody has
// heard of.
void copied_names(void) {
    rig_start(RAM, 0);
    on_sent = look;
    sock_query_t *q = sock_query_start("example.org", SOCK_AF_INET);
    rig_sleep_ms(10);
    CHECK(seen.asked == 1);
    uint16_t id = seen.dns_id, port = seen.dns_port;
    become("", NULL);
    rig_sleep_ms(10);
    CHECK(seen.asked == 1 && (seen.dns_id != id || seen.dns_port != port) && !sock_query_done(q));
    static const uint8_t rest[] =
        "\x81\x80\0\1\0\1\0\0\0\0\7example\3org\0\0\1\0\1\xc0\x0c\0\1\0\1\0\0\1\0\0\4\1\2\3\4";
    uint8_t frame[256], message[2 + sizeof rest - 1];
    memcpy(message + 2, rest, sizeof rest - 1);
    put16(message, id); // the answer to the other machine
    rig_receive(frame, make_udp(frame, DNS_PORT, port, message, sizeof message), false, 1);
    rig_sleep_ms(10);
    CHECK(!sock_query_done(q));
    put16(message, seen.dns_id);
    rig_receive(frame, make_udp(frame, DNS_PORT, seen.dns_port, message, sizeof message), false, 1);
    rig_sleep_ms(10);
    CHECK(sock_query_done(q) && q->v4 == 0 && get32((uint8_t *)&ip_2_ip4(&q->ip4)->addr) == 0x01020304);
    sock_query_release(q);
    q = sock_query_start("example.org", SOCK_AF_INET);
    CHECK(sock_query_done(q)); // known
    sock_query_release(q);
    become("", NULL);
    q = sock_query_start("example.org", SOCK_AF_INET);
    CHECK(!sock_query_done(q)); // and no more
    rig_sleep_ms(60000);
    CHECK(sock_query_done(q));
    sock_query_release(q);
}

// Sequence numbers, ports and identifications are of other keys.
void copied_keys(void) {
    rig_start(RAM, 0);
    ip_addr_t a = *IP4_ADDR_ANY, b;
    CHECK(ipaddr_aton("10.0.0.1", &b));
    uint32_t isn = netrand_isn(&a, 1, &b, 2);
    uint16_t ids[4], same = 0;
    for (unsigned i = 0; i < 4; i++) {
        ids[i] = netrand_ip_id((uint16_t)i);
    }
    netrand_u32(); // some are left that the other machine has, too
    int numbers[2];
    CHECK(pipe(numbers) == 0);
    if (fork() == 0) {
        uint32_t theirs = netrand_u32();
        _exit(write(numbers[1], &theirs, sizeof theirs) != (ssize_t)sizeof theirs);
    }
    uint32_t theirs;
    CHECK(read(numbers[0], &theirs, sizeof theirs) == (ssize_t)sizeof theirs);
    become("", NULL);
    CHECK(netrand_u32() != theirs);
    CHECK(netrand_isn(&a, 1, &b, 2) != isn);
    for (unsigned i = 0; i < 4; i++) {
        same += netrand_ip_id((uint16_t)i) == ids[i];
    }
    CHECK(same < 4);
}

// Datagrams that came before are the other machine's; one that this machine has sent to itself is its own.
void copied_datagrams(void) {
    rig_start(RAM, 0);
    sock_t *u = sock_new(SOCK_AF_INET, SOCK_TYPE_DGRAM);
    sock_addr_t at = {IPADDR4_INIT(0), PORT}, self = {IPADDR4_INIT(0), PORT}, from;
    uint8_t frame[256], buf[16];
    CHECK(ipaddr_aton("127.0.0.1", &self.ip) && sock_bind(u, &at) == 0);
    rig_receive(frame, make_udp(frame, 7, PORT, "theirs", 6), false, 1);
    CHECK(sock_send(u, "own", 3, &self) == 3);
    rig_sleep_ms(10);
    rig_receive(frame, make_udp(frame, 7, PORT, "theirs, too", 11), false, 1);
    rig_sleep_ms(10);
    CHECK((sock_poll(u) & SOCK_POLL_IN) != 0);
    become("", NULL);
    CHECK((sock_poll(u) & SOCK_POLL_IN) != 0);
    CHECK(sock_recv(u, buf, sizeof buf, &from) == 3 && memcmp(buf, "own", 3) == 0 && ip_addr_eq(&from.ip, &self.ip));
    CHECK((sock_poll(u) & SOCK_POLL_IN) == 0 && sock_recv(u, buf, sizeof buf, NULL) == -EAGAIN);
    rig_receive(frame, make_udp(frame, 7, PORT, "ours", 4), false, 1);
    rig_sleep_ms(10);
    CHECK(sock_recv(u, buf, sizeof buf, &from) == 4 && memcmp(buf, "ours", 4) == 0 && from.port == 7);
    sock_close(u);
    nothing_left();
}

// ---- routers --------------------------------------------------------------------------------------

enum { ETH_IP6 = 0x86dd, IP6 = 54, ICMP6 = 58, NS = 135, NA = 136, SOLICITED_OVERRIDE = 0x60 };
static const uint8_t router[16] = {0xfe, 0x80, [15] = 0x99}, everybody[16] = {0xff, 2, [15] = 1}, no_address[16];
static struct {
    uint8_t mac[NETDEV_MAC_LEN]; // of the router
    bool answers;
    unsigned probed, asked, sent, elsewhere;
    uint8_t target[16], source[16]; // what was asked for last; of the last datagram
} road;

static void look_along(const sent_t *f) {
    const uint8_t *p = f->data, *m = p + IP6;
    if (get16(p + 12) != ETH_IP6) {
        return;
    }
    if (p[20] == ICMP6 && m[0] == NS && memcmp(p + 22, no_address, 16) != 0) {
        memcpy(road.target, m + 8, 16);
        bool of_router = memcmp(m + 8, router, 16) == 0;
        road.probed += of_router;
        road.asked += !of_router;
        if (of_router && road.answers) {
            uint8_t na[32] = {NA, [4] = SOLICITED_OVERRIDE, [24] = 2, [25] = 1};
            memcpy(na + 8, router, 16);
            memcpy(na + 26, road.mac, NETDEV_MAC_LEN);
            send_icmp6(router, p + 22, na, sizeof na);
        }
    } else if (p[20] == UDP) {
        bool there = memcmp(p, road.mac, NETDEV_MAC_LEN) == 0;
        road.sent += there;
        road.elsewhere += !there;
        memcpy(road.source, p + 22, 16);
    }
}

// A router for a minute, with a prefix for two; the last byte of its MAC address.
static void advertise(uint8_t mac) {
    uint8_t ra[56] = {134, [6] = 0, [7] = 60, [16] = 1, [17] = 1, [18] = 2, [23] = mac, [24] = 3, [25] = 4, [26] = 64};
    static const uint8_t prefix[8] = {0x20, 1, 0x0d, 0xb8};
    ra[27] = 0xc0; // on this link, for addresses
    put32(ra + 28, 120);
    put32(ra + 32, 120);
    memcpy(ra + 40, prefix, sizeof prefix);
    memset(&road, 0, sizeof road);
    memcpy(road.mac, ra + 18, NETDEV_MAC_LEN);
    on_sent = look_along;
    send_icmp6(router, everybody, ra, sizeof ra);
    rig_sleep_ms(3000);
    CHECK(ip6_addr_isvalid(netif_ip6_addr_state(netif_default, 1)));
}

static void become_elsewhere(const uint8_t *mac) {
    become("", mac);
    memset(&road, 0, offsetof(typeof(road), target));
    memcpy(road.mac, "\2\0\0\0\0\x77", NETDEV_MAC_LEN);
    road.answers = true;
    on_sent = look_along;
}

// Routes, prefixes and addresses of IPv6 hold on, as long as was said; where the router is, is asked at once. With
// another MAC address the addresses of the same prefixes are other ones.
void copied_routers(void) {
    rig_start(RAM, 0);
    rig_sleep_ms(3000);
    advertise(0x99);
    sock_t *u = sock_new(SOCK_AF_INET6, SOCK_TYPE_DGRAM);
    sock_addr_t far = {IPADDR4_INIT(0), 9}, near = {IPADDR4_INIT(0), 9};
    CHECK(ipaddr_aton("2001:db8:1::1", &far.ip) && ipaddr_aton("2001:db8::5", &near.ip));
    CHECK(sock_send(u, "x", 1, &far) == 1);
    rig_sleep_ms(10);
    CHECK(road.sent == 1);
    ip6_addr_t before = *netif_ip6_addr(netif_default, 1);
    become_elsewhere(NULL);
    CHECK(sock_send(u, "x", 1, &far) == 1 && sock_send(u, "x", 1, &near) == 1);
    while (rig_run()) {
    }
    CHECK(road.probed == 1 && road.sent == 1 && road.elsewhere == 0); // no time has passed
    CHECK(road.asked == 1 && road.target[15] == 5 && ip6_addr_eq(&before, netif_ip6_addr(netif_default, 1)));
    become_elsewhere(new_mac);
    CHECK(ip6_addr_istentative(netif_ip6_addr_state(netif_default, 1)));
    rig_sleep_ms(3500);
    CHECK(ip6_addr_isvalid(netif_ip6_addr_state(netif_default, 1)) && road.probed > 0);
    CHECK(sock_send(u, "x", 1, &far) == 1);
    rig_sleep_ms(10);
    CHECK(road.sent == 1 && road.elsewhere == 0 && get32(road.source + 12) == 0xfe000009);
    rig_sleep_ms(60000); // the router's minute is over, the prefix is still known
    CHECK(sock_send(u, "x", 1, &far) < 0 && sock_send(u, "x", 1, &near) == 1);
    rig_sleep_ms(60000);
    CHECK(ipaddr_aton("2001:db8::6", &near.ip)); // lwIP remembers the way to the other one
    CHECK(sock_send(u, "x", 1, &near) < 0);
    sock_close(u);
    nothing_left();
}

// ---- the same machine, elsewhere --------------------------------------------------------------------

extern const hal_suspend_hook_t __start_hal_suspend[], __stop_hal_suspend[];

static void tell_all(hal_suspend_t what) {
    for (const hal_suspend_hook_t *hook = __start_hal_suspend; hook < __stop_hal_suspend; hook++) {
        (*hook)(what);
    }
}

// Its neighbours hear where it is now, from each card; connections hold.
void resumed(void) {
    rig_start(RAM, 0);
    sock_t *l = listen_on(PORT, 5);
    sock_t *s = accepted(l, PEER_PORT);
    rig_sleep_ms(5000);
    memset(&seen, 0, sizeof seen);
    on_sent = look;
    tell_all(HAL_SUSPENDING);
    rig_sleep_ms(10);
    CHECK(seen.announced == 0 && netif_is_link_up(netif_default));
    tell_all(HAL_RESUMED);
    CHECK(!netif_is_link_up(netif_default));
    rig_sleep_ms(10);
    CHECK(seen.announced == 1 && netif_is_link_up(netif_default));
    on_sent = peer_sees;
    CHECK(sock_send(s, "still", 5, NULL) == 5);
    rig_sleep_ms(10);
    CHECK(peer.got == 5);
    sock_close(s);
    sock_close(l);
    nothing_left();
}
