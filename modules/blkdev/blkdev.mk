# SPDX-License-Identifier: MIT
# The disks' source lists, relative to the top folder. Fast: what runs per request.

FLOE_BLKDEV_C := $(sort $(wildcard modules/blkdev/*.c))
FLOE_BLKDEV_FAST := $(FLOE_BLKDEV_C)
