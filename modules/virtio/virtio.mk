# SPDX-License-Identifier: MIT
# The virtio drivers' source lists, relative to the top folder. Fast: what runs per frame or per request.

FLOE_VIRTIO_C := $(sort $(wildcard modules/virtio/*.c))
FLOE_VIRTIO_FAST := $(addprefix modules/virtio/, virtio_blk.c virtio_net.c virtqueue.c)
