# SPDX-License-Identifier: MIT
# The family's source lists, relative to the top folder. Fast: nothing; a frame costs an exit.

FLOE_FAMILY_C := $(sort $(wildcard modules/family/*.c))
