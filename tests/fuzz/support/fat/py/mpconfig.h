// SPDX-License-Identifier: MIT
// What FatFs takes of MicroPython's configuration: the lines of port/mpconfigport.h that are about it. Its own header
// needs all of MicroPython.

#include <stdint.h>

#define MICROPY_FATFS_ENABLE_LFN (1)
#define MICROPY_FATFS_LFN_CODE_PAGE 437
#define MICROPY_FATFS_MAX_SS (4096)
#define MICROPY_FATFS_RPATH (2)
#define MICROPY_FATFS_USE_LABEL (0)
