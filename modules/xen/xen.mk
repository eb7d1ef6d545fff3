# SPDX-License-Identifier: MIT
# The Xen drivers' source lists, relative to the top folder. Fast: what runs per frame or per request.

FLOE_XEN_C := $(sort $(wildcard modules/xen/*.c))
FLOE_XEN_FAST := $(addprefix modules/xen/, blkfront.c netfront_rx.c netfront_tx.c xenring.c)
