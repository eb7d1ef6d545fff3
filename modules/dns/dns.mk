# SPDX-License-Identifier: MIT
# Help for a DNS server: source lists, relative to the top folder. Fast: what runs per query.

FLOE_DNS_FAST := modules/dns/dnsmsg.c modules/dns/mod_dns.c
FLOE_DNS_C := $(FLOE_DNS_FAST)
