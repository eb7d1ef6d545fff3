// SPDX-License-Identifier: MIT
// What the host hands the VM by name: from XenStore where Xen is, else over QEMU's fw_cfg. Owns nothing. Not here:
// either way (port/xen/blob.c, fwcfg.c), what a blob means. Context: main loop.

#include "internal.h"

int hal_blob_size(const char *name) { return hal_platform != NULL ? xen_blobs.size(name) : hal_fwcfg_size(name); }

int hal_blob_read(const char *name, void *out, size_t len) {
    return hal_platform != NULL ? xen_blobs.read(name, out, len) : hal_fwcfg_read(name, out, len);
}

int hal_blob_next(const char *prefix, size_t *pos, char *out, size_t size) {
    return hal_platform != NULL ? xen_blobs.next(prefix, pos, out, size) : hal_fwcfg_next(prefix, pos, out, size);
}

bool hal_vm_uuid(uint8_t out[16]) { return hal_platform != NULL ? xen_blobs.uuid(out) : hal_fwcfg_uuid(out); }
