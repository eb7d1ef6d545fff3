// SPDX-License-Identifier: MIT
// A littlefs2 disk that somebody has written to: a right one, changed in some places, is mounted, walked, read and
// written. Checksums are left out (targets.toml), or no change would get behind them. Upstream's lib/littlefs

#include <stdio.h>
#include <string.h>

#include "changes.h"
#include "lfs2.h"

enum { BLOCK = 512, BLOCKS = 24, WALK = 60, DEPTH = 3 };

static uint8_t disk[BLOCKS][BLOCK];
static changes_t content;
static unsigned reads, walked;

_Noreturn void floe_lfs_refused(int code);
_Noreturn void floe_lfs_refused(int code) { // port/misc.c makes an OSError of it
    (void)code;
    fuzz_leave();
}

static int bd_read(const struct lfs2_config *c, lfs2_block_t block, lfs2_off_t off, void *out, lfs2_size_t size) {
    (void)c;
    FUZZ_CHECK(block < BLOCKS && off <= BLOCK && size <= BLOCK - off);
    if (++reads > 20000) {
        fuzz_leave(); // the caller of a VM can be stopped; what it does not stop by itself is for --record's seconds
    }
    memcpy(out, disk[block] + off, size);
    return 0;
}

static int bd_prog(const struct lfs2_config *c, lfs2_block_t block, lfs2_off_t off, const void *data,
                   lfs2_size_t size) {
    (void)c;
    FUZZ_CHECK(block < BLOCKS && off <= BLOCK && size <= BLOCK - off);
    memcpy(disk[block] + off, data, size);
    return 0;
}

static int bd_none(const struct lfs2_config *c) {
    (void)c;
    return 0;
}

static int bd_erase(const struct lfs2_config *c, lfs2_block_t block) {
    (void)c;
    FUZZ_CHECK(block < BLOCKS);
    return 0;
}

static uint8_t read_buffer[64], prog_buffer[64], ahead[8], file_buffer[64];
static const struct lfs2_config config = {.read = bd_read,
                                          .prog = bd_prog,
                                          .erase = bd_erase,
                                          .sync = bd_none,
                                          .read_size = 16,
                                          .prog_size = 16,
                                          .block_size = BLOCK,
                                          .block_count = BLOCKS,
                                          .block_cycles = 100,
                                          .cache_size = 64,
                                          .lookahead_size = 8,
                                          .read_buffer = read_buffer,
                                          .prog_buffer = prog_buffer,
                                          .lookahead_buffer = ahead};
static const struct lfs2_file_config file_config = {.buffer = file_buffer};

static void read_file(lfs2_t *fs, const char *path, int flags) {
    lfs2_file_t f;
    uint8_t data[200];
    if (lfs2_file_opencfg(fs, &f, path, flags, &file_config) != 0) {
        return;
    }
    for (unsigned i = 0; i < 20 && lfs2_file_read(fs, &f, data, sizeof data) > 0; i++) {
    }
    lfs2_file_seek(fs, &f, 300, LFS2_SEEK_SET);
    lfs2_file_read(fs, &f, data, sizeof data);
    if ((flags & LFS2_O_WRONLY) != 0) {
        lfs2_file_write(fs, &f, data, sizeof data);
    }
    lfs2_file_close(fs, &f);
}

static void walk(lfs2_t *fs, const char *path, unsigned depth) {
    lfs2_dir_t d;
    if (lfs2_dir_open(fs, &d, path) != 0) {
        return;
    }
    struct lfs2_info info;
    while (walked++ < WALK && lfs2_dir_read(fs, &d, &info) > 0) {
        char below[400];
        FUZZ_CHECK(strnlen(info.name, sizeof info.name) < sizeof info.name);
        if (strcmp(info.name, ".") == 0 || strcmp(info.name, "..") == 0 ||
            snprintf(below, sizeof below, "%s/%s", path, info.name) >= (int)sizeof below) {
            continue;
        }
        if (info.type == LFS2_TYPE_DIR && depth > 0) {
            walk(fs, below, depth - 1);
        } else {
            read_file(fs, below, LFS2_O_RDONLY);
        }
    }
    lfs2_dir_close(fs, &d);
}

static void make(lfs2_t *fs) {
    memset(disk, 0xff, sizeof disk);
    static const char text[] = "some bytes of a file that lies in a block of its own, for it is long enough";
    FUZZ_CHECK(lfs2_format(fs, &config) == 0 && lfs2_mount(fs, &config) == 0);
    FUZZ_CHECK(lfs2_mkdir(fs, "/dir") == 0);
    for (unsigned i = 0; i < 3; i++) {
        lfs2_file_t f;
        const char *path = (const char *[]){"/small", "/dir/large", "/dir/two"}[i];
        FUZZ_CHECK(lfs2_file_opencfg(fs, &f, path, LFS2_O_WRONLY | LFS2_O_CREAT, &file_config) == 0);
        for (unsigned n = i == 1 ? 20 : 1; n > 0; n--) {
            lfs2_file_write(fs, &f, text, sizeof text);
        }
        FUZZ_CHECK(lfs2_file_close(fs, &f) == 0);
    }
    FUZZ_CHECK(lfs2_unmount(fs) == 0);
}

void fuzz_start(void) {
    lfs2_t fs;
    make(&fs);
    changes_find(&content, (uint8_t *)disk, sizeof disk, 0xff);
}

void fuzz_one(void) {
    lfs2_t fs;
    bool writes = in_u8() & 1;
    changes_make(&content, (uint8_t *)disk, sizeof disk);
    reads = 0;
    if (lfs2_mount(&fs, &config) != 0) {
        return;
    }
    walk(&fs, "", DEPTH);
    if (writes) {
        read_file(&fs, "/new", LFS2_O_RDWR | LFS2_O_CREAT);
        read_file(&fs, "/dir/large", LFS2_O_RDWR);
        lfs2_rename(&fs, "/small", "/dir/small");
        lfs2_mkdir(&fs, "/more");
        lfs2_remove(&fs, "/dir/two");
        lfs2_fs_size(&fs);
    }
    lfs2_unmount(&fs);
}
