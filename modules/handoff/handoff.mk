# SPDX-License-Identifier: MIT
# Connections that go to a copy: source lists, relative to the top folder. Fast: what runs per turn and per piece of data.

FLOE_HANDOFF_FAST := modules/handoff/handoffrelay.c
FLOE_HANDOFF_C := $(sort $(wildcard modules/handoff/*.c))
