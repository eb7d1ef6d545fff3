# SPDX-License-Identifier: MIT
# Frames that Python answers: source lists, relative to the top folder. Fast: what looks at each received frame.

FLOE_LINK_C := $(sort $(wildcard modules/link/*.c))
FLOE_LINK_FAST := modules/link/link.c
