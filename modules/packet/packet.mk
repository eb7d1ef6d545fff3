# SPDX-License-Identifier: MIT
# The packet engine's source lists, relative to the top folder. Fast: what runs per packet.

FLOE_PACKET_C := $(sort $(wildcard modules/packet/*.c))
FLOE_PACKET_FAST := $(filter-out modules/packet/mod_packet.c modules/packet/packeticmp.c, $(FLOE_PACKET_C))
