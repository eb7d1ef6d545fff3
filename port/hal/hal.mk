# SPDX-License-Identifier: MIT
# The HAL's source lists, relative to the top folder. Fast: what runs per byte, or in every turn of the main loop.

FLOE_HAL_C := $(sort $(wildcard port/hal/*.c))
FLOE_HAL_FAST := $(addprefix port/hal/, clock.c console.c events.c)
