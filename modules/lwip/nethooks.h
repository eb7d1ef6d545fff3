// SPDX-License-Identifier: MIT
// What lwIP calls back into while it works on a packet. Owns nothing. Not here: the functions themselves
// (netrand.c, netsyn.c, netcfg.c, nettx.c). Context: inside lwIP, in the main loop.

#ifndef FLOE_NETHOOKS_H
#define FLOE_NETHOOKS_H

#include "lwip/err.h"
#include "lwip/ip_addr.h"

struct netif;
struct pbuf;
struct tcp_pcb;
struct tcp_hdr;

// Initial sequence number of a connection, RFC 6528.
u32_t netrand_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port);
#define LWIP_HOOK_TCP_ISN netrand_isn

// The identification of the nth IPv4 packet (port/patches/lwip/packet-ids.patch).
u16_t netrand_ip_id(u16_t n);

// A segment for a listening or a TIME_WAIT connection: may it go on? whole:
// its buffer, if the header lies in one piece.
err_t netsyn_admit(struct tcp_pcb *pcb, struct tcp_hdr *hdr, struct pbuf *whole);
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, hdr, optlen, opt1len, opt2, p) \
    ((pcb)->state != LISTEN && (pcb)->state != TIME_WAIT ? ERR_OK : netsyn_admit(pcb, hdr, (opt2) == NULL ? (p) : NULL))

// A received IPv6 packet: 1, and it is freed, where the interface has no IPv6.
int netcfg_ip6_input(struct pbuf *p, struct netif *n);
#define LWIP_HOOK_IP6_INPUT netcfg_ip6_input

// What upstream's files call for nd6_get_destination_mtu() (lwip.mk). No less than every path takes, whatever a Packet
// Too Big said: anybody can send one, and one of 52 bytes has ip6_frag() make fragments of nothing for ever (RFC 8201,
// 4). u16_t nettx_path_mtu(const ip6_addr_t *to, struct netif *n), declared by lwip/nd6.h under that name.

// A segment before it goes out. What IPv6 will cut in pieces, because the path has become narrower than the segment,
// gets its checksum here: no device completes that of a fragment. And the connection's later segments fit.
uint32_t *nettx_segment(struct pbuf *p, struct tcp_hdr *hdr, const struct tcp_pcb *pcb, uint32_t *opts);
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS nettx_segment

#endif
