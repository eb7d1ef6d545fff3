// SPDX-License-Identifier: MIT
// Why a machine seems to have no device: without ACPI and auto-kernel-cmdline, QEMU's microvm names its virtio-mmio
// devices nowhere (QEMU docs/system/i386/microvm.rst). Owns nothing. Not here: drivers.
// Context: once, where none found a device.

#include "internal.h"

#define MMIO_FIRST 0xfeb00000ul // one device behind another
enum { MMIO_STEP = 0x200, MMIO_MOST = 24, REG_MAGIC = 0x000, REG_DEVICE_ID = 0x008, MAGIC = 0x74726976 };

void hal_microvm_explain(void) {
    static const char line[] =
        "virtio: no virtio_mmio.device= words on the command line; -M microvm,acpi=off adds them\n";
    for (uintptr_t at = MMIO_FIRST; at < MMIO_FIRST + MMIO_MOST * MMIO_STEP; at += MMIO_STEP) {
        if (hal_mmio_read32((void *)(at + REG_MAGIC)) != MAGIC) {
            return;
        }
        if (hal_mmio_read32((void *)(at + REG_DEVICE_ID)) != 0) {
            hal_console_log(line, sizeof(line) - 1);
            return;
        }
    }
}
