// SPDX-License-Identifier: MIT
// lwIP 2.2.1 as Floe uses it: one thread, no operating system, memory from the C library's malloc under a
// budget (netmem.c). Owns nothing. Not here: types and assertions (arch/cc.h), timers (nettimer.c).
// Context: included by every lwIP source file and, through lwIP's headers, by ours.

#ifndef FLOE_LWIPOPTS_H
#define FLOE_LWIPOPTS_H

#include <stddef.h>
#include <stdint.h>

// ---- one context: lwIP runs in the main loop only, never in an interrupt -----------------------------
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_TIMERS 0 // nettimer.c: allocates nothing, and sleeps while nothing is due

// ---- memory -------------------------------------------------------------------------------------------
void *netmem_malloc(size_t size);
void *netmem_calloc(size_t n, size_t size);
void netmem_free(void *p);
#define MEM_ALIGNMENT 8
#define MEM_CUSTOM_ALLOCATOR 1
#define MEM_CUSTOM_MALLOC netmem_malloc
#define MEM_CUSTOM_CALLOC netmem_calloc
#define MEM_CUSTOM_FREE netmem_free
#define MEMP_MEM_MALLOC 1
#define MEM_SIZE 0x7fffffff // makes mem_size_t 32 bits wide; the limit is netmem.c's
#define PBUF_POOL_SIZE 0    // received frames stay in the driver's buffers
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define LWIP_STATS 1 // counts blocks in use: netmem.c limits connections by it
#define MEMP_STATS 1
#define MEM_STATS 1
#define LINK_STATS 0
#define ETHARP_STATS 0
#define IP_STATS 0
#define IPFRAG_STATS 0
#define ICMP_STATS 0
#define UDP_STATS 0
#define TCP_STATS 0
#define IGMP_STATS 0
#define IP6_STATS 0
#define ICMP6_STATS 0
#define IP6_FRAG_STATS 0
#define MLD6_STATS 0
#define ND6_STATS 0
#define SYS_STATS 0

// ---- interfaces ---------------------------------------------------------------------------------------
#define LWIP_ARP 1
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 64 // a burst of first packets to one neighbour: what does not fit costs a second
#define ARP_TABLE_SIZE 32
#define ETHARP_SUPPORT_STATIC_ENTRIES 0
#define LWIP_NETIF_HOSTNAME 1
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_NETIF_LINK_CALLBACK 0
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_HAVE_LOOPIF 1
#define LWIP_LOOPBACK_MAX_PBUFS 0 // no limit but memory
#define LWIP_NETIF_TX_SINGLE_PBUF 0
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1

// ---- IPv4, IPv6 ---------------------------------------------------------------------------------------
#define LWIP_IPV4 1
#define IP_FORWARD 0
#define IP_REASS_MAX_PBUFS 32
#define IP_REASS_MAXAGE 5
#define LWIP_ICMP 1
#define LWIP_BROADCAST_PING 0
#define LWIP_MULTICAST_PING 0
#define LWIP_IGMP 1
#define LWIP_DHCP 1
#define LWIP_DHCP_GET_NTP_SRV 0
#define LWIP_DHCP_DOES_ACD_CHECK 0 // probing the address costs seconds at every boot
#define LWIP_ACD 0
#define LWIP_AUTOIP 0
#define DHCP_CREATE_RAND_XID 1
#define DHCP_COARSE_TIMER_SECS 1 // with lwIP's minute, a lease of half a minute is not renewed in time
#define LWIP_DHCP_MAX_DNS_SERVERS 2
#define LWIP_IPV6 1
#define LWIP_IPV6_NUM_ADDRESSES 5
#define LWIP_IPV6_FORWARD 0
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_MLD 1
#define LWIP_IPV6_DHCP6 0
#define LWIP_IPV6_REASS 1
#define IPV6_REASS_MAXAGE 5
#define IPV6_FRAG_COPYHEADER 1 // pointers are wider than the header's fields
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 2
#define LWIP_ND6_NUM_NEIGHBORS 32
#define LWIP_ND6_NUM_DESTINATIONS 32
#define LWIP_ND6_QUEUEING 1
#define LWIP_RAW 0
#define SO_REUSE 1
#define SO_REUSE_RXTOALL 1
#define IP_SOF_BROADCAST 1
#define IP_SOF_BROADCAST_RECV 0
#define LWIP_MULTICAST_TX_OPTIONS 1

// ---- UDP, DNS -----------------------------------------------------------------------------------------
#define LWIP_UDP 1
#define LWIP_DNS 1
#define DNS_TABLE_SIZE 16
#define DNS_MAX_NAME_LENGTH 256
#define DNS_MAX_SERVERS 4
#define LWIP_DNS_SUPPORT_MDNS_QUERIES 0

// ---- TCP ----------------------------------------------------------------------------------------------
#define LWIP_TCP 1
#define TCP_MSS 1460
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 3
// Windows are set once at start from the size of RAM. Written as a sum because lwIP's preprocessor checks
// see a variable as 0: they judge the smallest value.
#define NETMEM_WINDOW_MIN 32768
extern uint32_t netmem_window_extra;
#define TCP_WND (NETMEM_WINDOW_MIN + netmem_window_extra)
#define TCP_SND_BUF (NETMEM_WINDOW_MIN + netmem_window_extra)
#define TCP_SND_QUEUELEN ((4 * (TCP_SND_BUF) + (TCP_MSS - 1)) / (TCP_MSS))
#define TCP_SNDLOWAT 8192
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_PBUFS 64
#define TCP_OOSEQ_MAX_BYTES 65536
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_MAX_SACK_NUM 4
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 1
#define TCP_DEFAULT_LISTEN_BACKLOG 255
#define TCP_MAXRTX 12
#define TCP_SYNMAXRTX 6
#define TCP_MSL 15000
#define LWIP_TCP_RTO_TIME 1000 // RFC 6298, 2.1
// Ticks of 50 and 100 ms instead of 250 and 500: a delayed ACK waits at most 50 ms, a lost segment is sent
// again after three slow ticks.
#define TCP_TMR_INTERVAL 50

// ---- checksums: netsum.c ------------------------------------------------------------------------------
uint16_t netsum_sum(const void *data, int len);
uint16_t netsum_copy(void *dst, const void *src, uint16_t len);
#define LWIP_CHKSUM netsum_sum
#define LWIP_CHKSUM_COPY(dst, src, len) netsum_copy(dst, src, len)
#define LWIP_CHECKSUM_ON_COPY 1

// ---- hooks --------------------------------------------------------------------------------------------
#define LWIP_HOOK_FILENAME "nethooks.h"

#endif
