// SPDX-License-Identifier: MIT
// A FAT disk that somebody has written to: a right one, changed in some places, is mounted, walked, read and written.
// Upstream's lib/oofatfs

#include <stdio.h>
#include <string.h>

#include "changes.h"
#include "ff.h"

#include "diskio.h" // behind ff.h, whose types it uses

enum { SECTOR = 512, SECTORS = 160, WALK = 60, DEPTH = 3 };

static uint8_t disk[SECTORS][SECTOR], made[2][SECTORS][SECTOR];
static changes_t content[2];
static unsigned reads, walked, sector_size = SECTOR;

DRESULT disk_read(void *drv, BYTE *buff, DWORD sector, UINT count) {
    (void)drv;
    if (++reads > 20000) {
        fuzz_leave();
    }
    if (sector_size != SECTOR || sector >= SECTORS || count > SECTORS - sector) {
        return RES_PARERR;
    }
    memcpy(buff, disk[sector], (size_t)count * SECTOR);
    return RES_OK;
}

DRESULT disk_write(void *drv, const BYTE *buff, DWORD sector, UINT count) {
    (void)drv;
    if (sector >= SECTORS || count > SECTORS - sector) {
        return RES_PARERR;
    }
    memcpy(disk[sector], buff, (size_t)count * SECTOR);
    return RES_OK;
}

DRESULT disk_ioctl(void *drv, BYTE cmd, void *buff) {
    (void)drv;
    if (cmd == GET_SECTOR_COUNT) {
        *(DWORD *)buff = SECTORS;
    } else if (cmd == GET_SECTOR_SIZE) {
        *(WORD *)buff = SECTOR;
    } else if (cmd == GET_BLOCK_SIZE) {
        *(DWORD *)buff = 1;
    } else if (cmd == IOCTL_INIT || cmd == IOCTL_STATUS) {
        *(DSTATUS *)buff = 0;
    }
    return RES_OK;
}

DWORD get_fattime(void) { return 0x58210000; }

static void use_file(FATFS *fs, const char *path, BYTE mode) {
    FIL f;
    uint8_t data[700];
    UINT n = 0;
    if (f_open(fs, &f, path, mode) != FR_OK) {
        return;
    }
    for (unsigned i = 0; i < 20 && f_read(&f, data, sizeof data, &n) == FR_OK && n > 0; i++) {
        FUZZ_CHECK(n <= sizeof data);
    }
    f_lseek(&f, 900);
    f_read(&f, data, sizeof data, &n);
    if ((mode & FA_WRITE) != 0) {
        f_write(&f, data, sizeof data, &n);
        f_lseek(&f, 100);
        f_truncate(&f);
    }
    f_close(&f);
}

static void walk(FATFS *fs, const char *path, unsigned depth) {
    FF_DIR d;
    FILINFO info;
    if (f_opendir(fs, &d, path) != FR_OK) {
        return;
    }
    while (walked++ < WALK && f_readdir(&d, &info) == FR_OK && info.fname[0] != 0) {
        char below[600];
        FUZZ_CHECK(strnlen(info.fname, sizeof info.fname) < sizeof info.fname);
        if (snprintf(below, sizeof below, "%s/%s", path, info.fname) >= (int)sizeof below) {
            continue;
        }
        if ((info.fattrib & AM_DIR) != 0 && depth > 0) {
            walk(fs, below, depth - 1);
        } else {
            use_file(fs, below, FA_READ);
        }
    }
    f_closedir(&d);
}

static void make(FATFS *fs, bool whole) {
    static const char text[] =
        "some bytes of a file that is as long as a few of the disk's clusters, of one sector each";
    uint8_t work[SECTOR];
    FUZZ_CHECK(f_mkfs(fs, whole ? FM_FAT | FM_SFD : FM_FAT, 0, work, sizeof work) == FR_OK && f_mount(fs) == FR_OK);
    FUZZ_CHECK(f_mkdir(fs, "/a longer name than fits") == FR_OK);
    for (unsigned i = 0; i < 3; i++) {
        FIL f;
        UINT n;
        const char *path = (const char *[]){"/small", "/a longer name than fits/large", "/another.long.name"}[i];
        FUZZ_CHECK(f_open(fs, &f, path, FA_WRITE | FA_CREATE_ALWAYS) == FR_OK);
        for (unsigned k = i == 1 ? 20 : 1; k > 0; k--) {
            f_write(&f, text, sizeof text, &n);
        }
        FUZZ_CHECK(f_close(&f) == FR_OK);
    }
    FUZZ_CHECK(f_umount(fs) == FR_OK);
}

void fuzz_start(void) {
    for (unsigned i = 0; i < 2; i++) {
        static FATFS fs;
        memset(&fs, 0, sizeof fs);
        memset(disk, 0, sizeof disk);
        make(&fs, i == 1);
        memcpy(made[i], disk, sizeof disk);
        changes_find(&content[i], (uint8_t *)disk, sizeof disk, 0);
    }
}

void fuzz_one(void) {
    static FATFS fs;
    unsigned kind = in_u8();
    memcpy(disk, made[kind & 1], sizeof disk);
    changes_make(&content[kind & 1], (uint8_t *)disk, sizeof disk);
    memset(&fs, 0, sizeof fs);
    reads = 0;
    if (f_mount(&fs) != FR_OK) {
        return;
    }
    walk(&fs, "", DEPTH);
    if (kind & 2) {
        DWORD free_clusters;
        use_file(&fs, "/new file with a long name", FA_READ | FA_WRITE | FA_OPEN_ALWAYS);
        use_file(&fs, "/a longer name than fits/large", FA_READ | FA_WRITE);
        f_rename(&fs, "/small", "/a longer name than fits/small");
        f_mkdir(&fs, "/more");
        f_unlink(&fs, "/another.long.name");
        f_getfree(&fs, &free_clusters);
    }
    f_umount(&fs);
}
