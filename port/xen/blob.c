// SPDX-License-Identifier: MIT
// What the host hands the VM by name (hal.h, blobs), in XenStore below floe/blob/N: name, size in decimal, and 0, 1,
// ...: the content in base64 (RFC 4648, 4), 1152 bytes a piece; and the VM's UUID. Owns nothing: each call reads the
// store. Not here: what a blob means; fw_cfg, which serves the same verbs on QEMU. Context: main loop.

#include <stdio.h>
#include <string.h>

#include "../hal/internal.h"
#include "shared.h"

enum { PIECE = 1152, TEXT = PIECE / 3 * 4, PATH_MAX = 40, NUMBERS_MAX = 1000, UUID_LEN = 16 };

static int broken(unsigned number) {
    char line[64];
    int n = snprintf(line, sizeof(line), "xen: floe/blob/%u is not what a blob is\n", number);
    hal_console_log(line, (size_t)n);
    return -EIO;
}

// The store's own errors are not for those who ask for a blob: there is one, or none, or it cannot be read.
static int refused(int err) { return err == -ENOENT ? err : -EIO; }

// Name of blob N, or -errno; too long a name is cut, and is then nobody's.
static int name_of(unsigned number, char name[HAL_BLOB_NAME_MAX + 2]) {
    char path[PATH_MAX];
    if (number >= NUMBERS_MAX) {
        return -ENOENT;
    }
    snprintf(path, sizeof(path), "floe/blob/%u/name", number);
    int len = xen_store_read(0, path, name, HAL_BLOB_NAME_MAX + 2);
    return len < 0 ? refused(len) : len;
}

// Number of the blob and its size, or -errno.
static int find(const char *name, unsigned *number) {
    char path[PATH_MAX], is[HAL_BLOB_NAME_MAX + 2];
    for (*number = 0;; ++*number) {
        int err = name_of(*number, is);
        if (err < 0) {
            return err;
        }
        if (err <= HAL_BLOB_NAME_MAX && strcmp(is, name) == 0) {
            uint64_t size;
            snprintf(path, sizeof(path), "floe/blob/%u/size", *number);
            err = xen_store_read_u64(0, path, UINT32_MAX, &size);
            return err != 0 ? broken(*number) : size > HAL_BLOB_MAX ? -EFBIG : (int)size;
        }
    }
}

static int blob_size(const char *name) {
    unsigned number;
    return find(name, &number);
}

static int digit(char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

// Decode in place: exactly want bytes.
static bool decode(char *text, size_t len, size_t want) {
    size_t at = 0;
    if (len != (want + 2) / 3 * 4) {
        return false;
    }
    for (size_t i = 0; i < len; i += 4) {
        uint32_t v = 0;
        size_t n = want - at < 3 ? want - at : 3;
        for (size_t k = 0; k < 4; k++) {
            int d = k <= n ? digit(text[i + k]) : text[i + k] == '=' ? 0 : -1;
            if (d < 0) {
                return false;
            }
            v = v << 6 | (uint32_t)d;
        }
        for (size_t k = 0; k < n; k++) {
            text[at++] = (char)(v >> (16 - 8 * k));
        }
    }
    return true;
}

static int blob_read(const char *name, void *out, size_t len) {
    static char text[TEXT + 1];
    char path[PATH_MAX];
    unsigned number;
    int size = find(name, &number);
    if (size < 0) {
        return size;
    }
    hal_assert(len <= (size_t)size);
    for (size_t at = 0; at < len; at += PIECE) {
        snprintf(path, sizeof(path), "floe/blob/%u/%u", number, (unsigned)(at / PIECE));
        int got = xen_store_read(0, path, text, sizeof(text));
        size_t there = (size_t)size - at < PIECE ? (size_t)size - at : PIECE;
        if (got < 0 || got > TEXT || !decode(text, (size_t)got, there)) {
            return broken(number);
        }
        memcpy((char *)out + at, text, len - at < there ? len - at : there);
    }
    return 0;
}

static int blob_next(const char *prefix, size_t *pos, char *out, size_t size) {
    char name[HAL_BLOB_NAME_MAX + 2];
    for (;;) {
        int err = name_of((unsigned)*pos, name);
        if (err < 0) {
            return err;
        }
        ++*pos;
        int len = err <= HAL_BLOB_NAME_MAX ? hal_blob_rest(name, prefix, out, size) : -ENOENT;
        if (len >= 0) {
            return len;
        }
    }
}

static bool blob_uuid(uint8_t out[16]) {
    char text[48];
    uint8_t any = 0;
    if (xen_store_read(0, "vm", text, sizeof(text)) != 4 + 36 || strncmp(text, "/vm/", 4) != 0) {
        return false;
    }
    const char *p = text + 4;
    for (unsigned i = 0; i < UUID_LEN; i++) {
        p += *p == '-';
        int high = xen_hex(p[0]), low = xen_hex(p[1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
        any |= out[i];
        p += 2;
    }
    return any != 0;
}

const hal_blobs_t xen_blobs = {blob_size, blob_read, blob_next, blob_uuid};
