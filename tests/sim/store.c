// SPDX-License-Identifier: MIT
// Values in an append-only file on littlefs, which is written anew when it has grown: as images/redis keeps its own.
// littlefs is set up over the block device as frozen/lib/_disks.py does. Owns the file and the values in memory.
// Not here: who asks (server.c). Context: its node; waits for the disk.

#include <string.h>

#include "blkdev.h"
#include "lfs2.h"

enum { BLOCK = 4096, READ = 1024, PROG = 512, CACHE = 4096, LOOKAHEAD = 16, REWRITE_AT = 24 << 10 };

typedef struct {
    uint32_t version, key, len, check;
    uint8_t value[SIM_VALUE_MAX];
} record_t;
enum { RECORD_HEAD = 16 };

static record_t records[SIM_KEYS]; // version 0: none
static lfs2_t fs;
static lfs2_file_t file;
static uint32_t file_size;
static uint8_t read_buffer[CACHE], prog_buffer[CACHE], lookahead[LOOKAHEAD], file_buffer[CACHE], other_buffer[CACHE];
static const struct lfs2_file_config file_cfg = {.buffer = file_buffer}, other_cfg = {.buffer = other_buffer};

// ---- as vfs_lfsx.c and mod_blkdev.c do ------------------------------------------------------------

static int fs_read(const struct lfs2_config *c, lfs2_block_t block, lfs2_off_t off, void *buf, lfs2_size_t size) {
    return blkdev_transfer(c->context, BLKDEV_READ, (uint64_t)block * BLOCK + off, buf, size);
}
static int fs_prog(const struct lfs2_config *c, lfs2_block_t block, lfs2_off_t off, const void *buf, lfs2_size_t size) {
    return blkdev_write_ordered(c->context, (uint64_t)block * BLOCK + off, buf, size);
}
static int fs_erase(const struct lfs2_config *c, lfs2_block_t block) {
    (void)block;
    return ((blkdev_t *)c->context)->dead ? -EIO : 0;
}
static int fs_sync(const struct lfs2_config *c) { return blkdev_flush(c->context); }

static struct lfs2_config cfg = {
    .read = fs_read,
    .prog = fs_prog,
    .erase = fs_erase,
    .sync = fs_sync,
    .read_size = READ,
    .prog_size = PROG,
    .block_size = BLOCK,
    .block_cycles = 100,
    .cache_size = CACHE,
    .lookahead_size = LOOKAHEAD,
    .read_buffer = read_buffer,
    .prog_buffer = prog_buffer,
    .lookahead_buffer = lookahead,
};

// ---- the file -----------------------------------------------------------------------------------

static uint32_t check_of(const record_t *r) {
    uint32_t sum = 2166136261u;
    for (unsigned i = 0; i < r->len; i++) {
        sum = (sum ^ r->value[i]) * 16777619u;
    }
    return sum ^ r->version * 31 ^ r->key * 7 ^ r->len;
}

static int append(lfs2_file_t *f, const record_t *r) {
    lfs2_ssize_t n = lfs2_file_write(&fs, f, r, RECORD_HEAD + r->len);
    return n == (lfs2_ssize_t)(RECORD_HEAD + r->len) ? 0 : n < 0 ? (int)n : -ENOSPC;
}

static void load(void) {
    record_t r;
    lfs2_file_t f;
    int e = lfs2_file_opencfg(&fs, &f, "store", LFS2_O_RDONLY, &file_cfg);
    if (e == LFS2_ERR_NOENT) {
        return;
    }
    if (e != 0) {
        sim_broken("the store does not open: %d", e);
    }
    for (;;) {
        lfs2_ssize_t n = lfs2_file_read(&fs, &f, &r, RECORD_HEAD);
        if (n == 0) {
            break;
        }
        bool whole = n == RECORD_HEAD && r.key < SIM_KEYS && r.len <= SIM_VALUE_MAX &&
                     lfs2_file_read(&fs, &f, r.value, r.len) == (lfs2_ssize_t)r.len && r.check == check_of(&r);
        if (!whole) { // a file is as it was at a flush
            sim_broken("the store's file is torn at %d", (int)lfs2_file_tell(&fs, &f));
        }
        records[r.key] = r;
    }
    lfs2_file_close(&fs, &f);
}

static int rewrite(void) {
    lfs2_file_t f;
    int e = lfs2_file_opencfg(&fs, &f, "store.new", LFS2_O_WRONLY | LFS2_O_CREAT | LFS2_O_TRUNC, &other_cfg);
    for (unsigned i = 0; e == 0 && i < SIM_KEYS; i++) {
        e = records[i].version != 0 ? append(&f, &records[i]) : 0;
    }
    e = e == 0 ? lfs2_file_close(&fs, &f) : e;
    e = e == 0 ? lfs2_file_close(&fs, &file) : e;
    e = e == 0 ? lfs2_rename(&fs, "store.new", "store") : e;
    return e == 0 ? lfs2_file_opencfg(&fs, &file, "store", LFS2_O_WRONLY | LFS2_O_APPEND, &file_cfg) : e;
}

void sim_store_open(void) {
    blkdev_t *b = blkdev_get(0);
    cfg.context = b;
    cfg.block_count = (lfs2_size_t)(b->sectors * BLKDEV_SECTOR / BLOCK);
    int e = lfs2_mount(&fs, &cfg);
    if (e != 0 && sim_start->boots == 0) {
        hal_assert(lfs2_format(&fs, &cfg) == 0);
        e = lfs2_mount(&fs, &cfg);
    }
    if (e != 0) {
        sim_broken("the disk does not mount: %d", e);
    }
    load();
    e = lfs2_file_opencfg(&fs, &file, "store", LFS2_O_WRONLY | LFS2_O_CREAT | LFS2_O_APPEND, &file_cfg);
    if (e != 0 || (e = lfs2_file_sync(&fs, &file)) != 0) {
        sim_broken("the store cannot be written: %d", e);
    }
    file_size = (uint32_t)lfs2_file_size(&fs, &file);
}

int sim_store_set(unsigned key, uint32_t version, const uint8_t *value, unsigned len) {
    static record_t r;
    r.version = version;
    r.key = key;
    r.len = len;
    memcpy(r.value, value, len);
    r.check = check_of(&r);
    int e = append(&file, &r);
    e = e == 0 ? lfs2_file_sync(&fs, &file) : e;
    if (e != 0) {
        sim_broken("a value cannot be written: %d", e); // the disk has room, and no faults while there is power
    }
    records[key] = r;
    file_size += RECORD_HEAD + len;
    if (file_size > REWRITE_AT) {
        e = rewrite();
        if (e != 0) {
            sim_broken("the store cannot be written anew: %d", e);
        }
        file_size = (uint32_t)lfs2_file_size(&fs, &file);
    }
    sim_note("kept", key, version);
    return 0;
}

unsigned sim_store_get(unsigned key, uint32_t *version, const uint8_t **value) {
    *version = records[key].version;
    *value = records[key].value;
    return records[key].len;
}
