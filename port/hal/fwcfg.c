// SPDX-License-Identifier: MIT
// What the host hands the VM by name, over QEMU's fw_cfg (QEMU docs/specs/fw_cfg.rst): files below opt/floe/, and the
// VM's UUID. By its data register, byte after byte: its DMA, which is faster, would write wherever ring 3 told it to,
// past any IOMMU, and is closed (monitor.S). Owns a copy of the directory. Not here: what a blob means; whether this is
// the source of blobs (blob.c). Context: main loop; the device is looked for when a script first asks.

#include <string.h>

#include "internal.h"

enum {
    PORT_SELECTOR = 0x510, // 16 bits; begins an item anew
    PORT_DATA = 0x511,
    KEY_SIGNATURE = 0x00,
    KEY_UUID = 0x02,
    KEY_DIRECTORY = 0x19,
    KEY_FIRST_FILE = 0x20,
    KEY_LAST_FILE = 0x3fff,
    UUID_LEN = 16,
    NAME_LEN = 56,
    FILES_MAX = 64,
};
#define SIGNATURE "QEMU"
#define PREFIX "opt/floe/"

// Everything is big endian.
typedef struct {
    uint32_t size;
    uint16_t key, reserved;
    char name[NAME_LEN];
} fwcfg_file_t;
_Static_assert(sizeof(fwcfg_file_t) == 64, "fw_cfg.rst");

static struct {
    uint32_t count;
    fwcfg_file_t file[FILES_MAX];
} directory;
static enum { UNSEEN, ABSENT, BROKEN, READY } state;

// Bytes beyond the end of an item arrive as zeros.
static void fetch(unsigned key, void *out, size_t len) {
    hal_out16(PORT_SELECTOR, (uint16_t)key);
    hal_ins8(PORT_DATA, out, len);
}

// Never asked again: what else it says is no better.
static int broken(const char *what) {
    static const char head[] = "fw_cfg: ", tail[] = "; no secret and no --env-file can be read\n";
    hal_console_log(head, sizeof(head) - 1);
    hal_console_log(what, strlen(what));
    hal_console_log(tail, sizeof(tail) - 1);
    state = BROKEN;
    return -EIO;
}

static int read_directory(void) {
    hal_out16(PORT_SELECTOR, KEY_DIRECTORY);
    hal_ins8(PORT_DATA, &directory.count, sizeof(directory.count));
    directory.count = __builtin_bswap32(directory.count);
    if (directory.count > FILES_MAX) {
        return broken("too many files");
    }
    hal_ins8(PORT_DATA, directory.file, directory.count * sizeof(directory.file[0]));
    for (fwcfg_file_t *f = directory.file; f < directory.file + directory.count; f++) {
        f->size = __builtin_bswap32(f->size);
        f->key = __builtin_bswap16(f->key);
        if (f->key < KEY_FIRST_FILE || f->key > KEY_LAST_FILE || memchr(f->name, '\0', NAME_LEN) == NULL) {
            return broken("a file without a name or a place");
        }
    }
    state = READY;
    return 0;
}

// 0, -ENOENT without the device, -EIO when what it says cannot be.
static int look(void) {
    char signature[sizeof(SIGNATURE) - 1];
    if (state == UNSEEN) {
        fetch(KEY_SIGNATURE, signature, sizeof(signature));
        if (memcmp(signature, SIGNATURE, sizeof(signature)) == 0) {
            return read_directory();
        }
        state = ABSENT;
    }
    return state == READY ? 0 : state == ABSENT ? -ENOENT : -EIO;
}

static const fwcfg_file_t *find(const char *name) {
    for (const fwcfg_file_t *f = directory.file; f < directory.file + directory.count; f++) {
        if (memcmp(f->name, PREFIX, sizeof(PREFIX) - 1) == 0 && strcmp(f->name + sizeof(PREFIX) - 1, name) == 0) {
            return f;
        }
    }
    return NULL;
}

int hal_fwcfg_size(const char *name) {
    int err = look();
    if (err != 0) {
        return err;
    }
    const fwcfg_file_t *f = find(name);
    return f == NULL ? -ENOENT : f->size > HAL_BLOB_MAX ? -EFBIG : (int)f->size;
}

int hal_fwcfg_read(const char *name, void *out, size_t len) {
    int size = hal_fwcfg_size(name);
    if (size < 0) {
        return size;
    }
    hal_assert(len <= (size_t)size);
    fetch(find(name)->key, out, len);
    return 0;
}

int hal_fwcfg_next(const char *prefix, size_t *pos, char *out, size_t size) {
    int err = look();
    if (err != 0) {
        return err;
    }
    while (*pos < directory.count) {
        const char *name = directory.file[(*pos)++].name;
        int len = memcmp(name, PREFIX, sizeof(PREFIX) - 1) == 0
                      ? hal_blob_rest(name + sizeof(PREFIX) - 1, prefix, out, size)
                      : -ENOENT;
        if (len >= 0) {
            return len;
        }
    }
    return -ENOENT;
}

bool hal_fwcfg_uuid(uint8_t out[16]) {
    static const uint8_t none[UUID_LEN];
    if (look() != 0) {
        return false;
    }
    fetch(KEY_UUID, out, UUID_LEN);
    return memcmp(out, none, UUID_LEN) != 0;
}

// The copy's device has other files.
static void fwcfg_copied(const hal_identity_t *id) {
    (void)id;
    state = UNSEEN;
}
HAL_COPIED(HAL_COPIED_MACHINE, fwcfg_copied);
