// SPDX-License-Identifier: MIT
// Who uses a disk: commands that read and write it through blkdev.c (diskuser.py), and the steps of a random life with
// a model of what must be on it. Knows no driver.

#include "disk_user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static unsigned used; // number of the disk

static uint8_t pattern(uint64_t i, unsigned seed) { return (uint8_t)((i * 131 + seed * 17 + (i >> 8)) & 0xff); }

static long long num(char **word, unsigned i) { return strtoll(word[i], NULL, 0); }

static void cmd_write(char **word, bool ordered) { // AT LEN SEED
    size_t len = (size_t)num(word, 2);
    uint8_t *p = malloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        p[i] = pattern((uint64_t)num(word, 1) + i, (unsigned)num(word, 3));
    }
    blkdev_t *b = blkdev_get(used);
    uint64_t at = (uint64_t)num(word, 1);
    printf("%d\n", ordered ? blkdev_write_ordered(b, at, p, len) : blkdev_transfer(b, BLKDEV_WRITE, at, p, len));
    free(p);
}

static void cmd_read(char **word) { // AT LEN SEED: how many bytes are not the pattern's
    size_t len = (size_t)num(word, 2), bad = 0;
    uint8_t *p = malloc(len + 1);
    int r = blkdev_transfer(blkdev_get(used), BLKDEV_READ, (uint64_t)num(word, 1), p, len);
    for (size_t i = 0; i < len; i++) {
        bad += p[i] != pattern((uint64_t)num(word, 1) + i, (unsigned)num(word, 3));
    }
    printf("%d %zu\n", r, r == 0 ? bad : 0);
    free(p);
}

static void cmd_submit(char **word) { // OP LEN: as no caller may
    static uint8_t memory[1 << 20];
    blkdev_req_t r = {.op = (uint8_t)num(word, 1), .len = (uint32_t)num(word, 2), .base = memory};
    blkdev_t *b = blkdev_get(used);
    printf("%d\n", b->ops->submit(b, &r));
}

bool disk_user_command(char **word) {
    if (strcmp(word[0], "disk_use") == 0) { // NUMBER
        used = (unsigned)num(word, 1);
    } else if (strcmp(word[0], "disk_info") == 0) {
        const blkdev_t *b = blkdev_get(used);
        printf("%llu %u %u %u %d %d %d %d\n", (unsigned long long)b->sectors, b->sector_size, b->max_bytes, b->depth,
               b->readonly, b->volatile_cache, b->can_discard, b->dead);
    } else if (strcmp(word[0], "disk_write") == 0) {
        cmd_write(word, false);
    } else if (strcmp(word[0], "disk_ordered") == 0) {
        cmd_write(word, true);
    } else if (strcmp(word[0], "disk_read") == 0) {
        cmd_read(word);
    } else if (strcmp(word[0], "disk_submit") == 0) {
        cmd_submit(word);
    } else if (strcmp(word[0], "disk_flush") == 0) {
        printf("%d\n", blkdev_flush(blkdev_get(used)));
    } else if (strcmp(word[0], "disk_discard") == 0) {
        printf("%d\n", blkdev_discard(blkdev_get(used), (uint64_t)num(word, 1), (uint64_t)num(word, 2)));
    } else {
        return false;
    }
    return true;
}

// ---- a random life ---------------------------------------------------------------------------------

static uint8_t model[DISK_BYTES_MAX]; // what the disk must read as, held writes included

void disk_user_step(blkdev_t *b, const uint8_t *bytes, const bool *lied) {
    uint64_t size = b->sectors * BLKDEV_SECTOR;
    static uint8_t buf[70000];
    uint64_t at = fuzz_pick((uint32_t)size);
    uint32_t len = fuzz_pick(3) == 0 ? fuzz_pick(sizeof buf) : fuzz_pick(5000);
    bool fits = at + len <= size;
    int r;
    switch (fuzz_pick(8)) {
        case 0:
        case 1:
        case 2: {
            for (uint32_t i = 0; i < len; i++) {
                buf[i] = (uint8_t)fuzz_pick(256);
            }
            bool ordered = fuzz_pick(2);
            r = ordered ? blkdev_write_ordered(b, at, buf, len) : blkdev_transfer(b, BLKDEV_WRITE, at, buf, len);
            FUZZ_CHECK(*lied || r == (fits ? 0 : -EINVAL));
            if (r == 0) {
                memcpy(model + at, buf, len);
            }
            break;
        }
        case 3:
            r = blkdev_flush(b);
            FUZZ_CHECK(*lied || (r == 0 && memcmp(bytes, model, size) == 0));
            break;
        case 4:
            r = blkdev_discard(b, at & ~511ull, len & ~511u);
            FUZZ_CHECK(*lied || r == ((at & ~511ull) + (len & ~511u) <= size ? 0 : -EINVAL));
            if (r == 0 && b->can_discard) {
                uint64_t unit = b->sector_size, first = ((at & ~511ull) + unit - 1) & ~(unit - 1);
                uint64_t end = ((at & ~511ull) + (len & ~511u)) & ~(unit - 1);
                end > first ? (void)memset(model + first, 0, end - first) : (void)0;
            }
            break;
        default:
            memset(buf, 0xee, sizeof buf);
            r = blkdev_transfer(b, BLKDEV_READ, at, buf, len);
            FUZZ_CHECK(*lied || r == (fits ? 0 : -EINVAL));
            FUZZ_CHECK(*lied || r != 0 || memcmp(buf, model + at, len) == 0);
            FUZZ_CHECK(buf[len] == 0xee || len == sizeof buf - 1);
    }
    FUZZ_CHECK(!b->dead || *lied);
    FUZZ_CHECK(!b->dead || blkdev_flush(b) == -EIO);
}
