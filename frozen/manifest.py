# SPDX-License-Identifier: MIT
# What every script can import without bringing it: upstream's manifest language. Only what is imported is frozen,
# except boot.py, which is in every image.
include("$(MPY_DIR)/extmod/asyncio")
freeze("$(FLOE_DIR)/frozen", "boot.py")
freeze("$(FLOE_DIR)/frozen/lib")
freeze("$(FLOE_DIR)/frozen/family")
