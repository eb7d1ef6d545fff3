# SPDX-License-Identifier: MIT
# RESP's source lists, relative to the top folder. Fast: what runs per command.

FLOE_RESP_C := $(sort $(wildcard modules/resp/*.c))
FLOE_RESP_FAST := $(FLOE_RESP_C)
