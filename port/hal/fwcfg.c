// SPDX-License-Identifier: MIT
// What the host hands the VM by name, over QEMU's fw_cfg (QEMU docs/specs/fw_cfg.rst, DMA interface): files below
// opt/floe/, and the VM's UUID. Owns a copy of the directory. Not here: what a blob means; whether this is the source
// of blobs (blob.c). Context: main loop; the device is looked for when a script first asks.

#include <string.h>

#include "internal.h"

enum {
    PORT_DMA_HIGH = 0x514, // reads as the first half of the signature
    PORT_DMA_LOW = 0x518,  // a write starts the transfer
    KEY_UUID = 0x02,
    KEY_DIRECTORY = 0x19,
    KEY_FIRST_FILE = 0x20,
    KEY_LAST_FILE = 0x3fff,
    UUID_LEN = 16,
    NAME_LEN = 56,
    FILES_MAX = 64,
};
#define DMA_SIGNATURE 0x51454d55u // "QEMU"
#define DMA_ERROR (1u << 0)
#define DMA_READ (1u << 1)
#define DMA_SELECT (1u << 3)
#define DMA_KEY_SHIFT 16
#define DMA_TIMEOUT_NS 1000000000ull
#define PREFIX "opt/floe/"

// Everything is big endian.
typedef struct {
    uint32_t control, length;
    uint64_t address;
} fwcfg_dma_t;

typedef struct {
    uint32_t size;
    uint16_t key, reserved;
    char name[NAME_LEN];
} fwcfg_file_t;
_Static_assert(sizeof(fwcfg_dma_t) == 16 && sizeof(fwcfg_file_t) == 64, "fw_cfg.rst");

static struct {
    uint32_t count;
    fwcfg_file_t file[FILES_MAX];
} directory;
static enum { UNSEEN, ABSENT, BROKEN, READY } state;

// Bytes beyond the end of an item arrive as zeros.
static int fetch(unsigned key, void *out, size_t len) {
    static volatile fwcfg_dma_t dma;
    dma.control = __builtin_bswap32((uint32_t)key << DMA_KEY_SHIFT | DMA_SELECT | DMA_READ);
    dma.length = __builtin_bswap32((uint32_t)len);
    dma.address = __builtin_bswap64(hal_physical(out));
    uint64_t at = hal_physical(&dma);
    uint64_t give_up = hal_clock_ns() + DMA_TIMEOUT_NS;
    hal_wmb(); // the descriptor before the write that starts the transfer
    hal_out32(PORT_DMA_HIGH, __builtin_bswap32((uint32_t)(at >> 32)));
    hal_out32(PORT_DMA_LOW, __builtin_bswap32((uint32_t)at));
    while (dma.control != 0) {
        if ((dma.control & __builtin_bswap32(DMA_ERROR)) || hal_clock_ns() > give_up) {
            return -EIO;
        }
    }
    hal_mb(); // the end of the transfer before the first look at what it brought
    return 0;
}

// Never asked again: a late end of a transfer would write where others write by then.
static int broken(const char *what) {
    static const char head[] = "fw_cfg: ", tail[] = "; no secret and no --env-file can be read\n";
    hal_console_log(head, sizeof(head) - 1);
    hal_console_log(what, strlen(what));
    hal_console_log(tail, sizeof(tail) - 1);
    state = BROKEN;
    return -EIO;
}

// 0, -ENOENT without the device, -EIO when what it says cannot be.
static int look(void) {
    if (state == UNSEEN && __builtin_bswap32(hal_in32(PORT_DMA_HIGH)) != DMA_SIGNATURE) {
        state = ABSENT;
    }
    if (state != UNSEEN) {
        return state == READY ? 0 : state == ABSENT ? -ENOENT : -EIO;
    }
    if (fetch(KEY_DIRECTORY, &directory, sizeof(directory)) != 0) {
        return broken("the directory cannot be read");
    }
    directory.count = __builtin_bswap32(directory.count);
    if (directory.count > FILES_MAX) {
        return broken("too many files");
    }
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
    return len > 0 && fetch(find(name)->key, out, len) != 0 ? broken("a file cannot be read") : 0;
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
    if (look() != 0 || (fetch(KEY_UUID, out, UUID_LEN) != 0 && broken("the UUID cannot be read") != 0)) {
        return false;
    }
    return memcmp(out, none, UUID_LEN) != 0;
}

// The copy's device has other files. A transfer that never ended keeps it out of use.
static void fwcfg_copied(const hal_identity_t *id) {
    (void)id;
    state = state == BROKEN ? BROKEN : UNSEEN;
}
HAL_COPIED(HAL_COPIED_MACHINE, fwcfg_copied);
