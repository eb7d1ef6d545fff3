# SPDX-License-Identifier: MIT
# The network stack's source lists. LWIP_SRC_C is upstream's, relative to build/upstream/lwip; FLOE_LWIP_C is
# ours, relative to the top folder (the mod_*.c among them define qstrs and modules). Fast: what runs per packet.

LWIP_FAST := $(addprefix src/, \
    $(addprefix core/, inet_chksum.c ip.c mem.c memp.c pbuf.c stats.c tcp.c tcp_in.c tcp_out.c udp.c) \
    $(addprefix core/ipv4/, ip4.c ip4_addr.c) $(addprefix core/ipv6/, ethip6.c inet6.c ip6.c) netif/ethernet.c)
LWIP_SRC_C := $(LWIP_FAST) $(addprefix src/, \
    $(addprefix core/, def.c dns.c init.c netif.c) \
    $(addprefix core/ipv4/, dhcp.c etharp.c icmp.c igmp.c ip4_frag.c) \
    $(addprefix core/ipv6/, icmp6.c ip6_addr.c ip6_frag.c mld6.c nd6.c))

FLOE_LWIP_FAST := $(addprefix modules/lwip/, mod_sockio.c netglue.c netmem.c netstack.c netsum.c netsyn.c nettx.c \
    sock_tcp.c sock_udp.c)
FLOE_LWIP_C := $(FLOE_LWIP_FAST) $(addprefix modules/lwip/, mod_lan.c mod_netaddr.c mod_network.c mod_socket.c \
    mod_sockopt.c netcfg.c netcopied.c netdns.c netevent.c netneigh.c netrand.c nettimer.c sock.c sock_base.c sock_dns.c \
    sock_group.c sock_listen.c)

$(addprefix $(BUILD)/lwip/src/core/, tcp.o ipv6/ip6.o ipv6/ip6_frag.o): CFLAGS += -Dnd6_get_destination_mtu=nettx_path_mtu
$(BUILD)/lwip/src/core/ipv6/icmp6.o: CFLAGS += -Dnd6_input=netneigh_icmp6 -Dmld6_input=netneigh_icmp6
$(BUILD)/lwip/src/netif/ethernet.o: CFLAGS += -Detharp_input=netneigh_arp
# Upstream's files are compiled with our options.
$(addprefix $(BUILD)/lwip/, $(LWIP_SRC_C:.c=.o)): $(wildcard modules/lwip/lwipopts.h modules/lwip/nethooks.h modules/lwip/arch/*.h)
