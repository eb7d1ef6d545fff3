// SPDX-License-Identifier: MIT
// Stand-ins for store.c and blob.c until they are here; each function goes when its file comes. Owns nothing.
// Not here: XenStore. Context: any.

#include "shared.h"

int xen_blob_size(const char *name) {
    (void)name;
    return -ENOENT;
}

int xen_blob_read(const char *name, void *out, size_t len) {
    (void)name, (void)out, (void)len;
    return -ENOENT;
}

int xen_blob_next(const char *prefix, size_t *pos, char *out, size_t size) {
    (void)prefix, (void)pos, (void)out, (void)size;
    return -ENOENT;
}

bool xen_blob_uuid(uint8_t out[16]) {
    (void)out;
    return false;
}
