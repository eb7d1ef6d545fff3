// SPDX-License-Identifier: MIT
// Free RAM, cut from two ends: the C heap grows upwards from the end of the image (sbrk), everything else
// (GC heap areas, device rings) is taken downwards from the top of the highest region. They cannot meet:
// each side checks the other's border. Owns those borders. Not here: the allocators. Context: main loop.

#include <string.h>

#include "../boot/boot.h"
#include "internal.h"

// Drawn by boot/place.c, on a page that nothing can write once the monitor is locked.
__attribute__((section(".monitor.ro"))) uintptr_t hal_ram_offset;

static uint64_t sbrk_now, sbrk_peak; // 0 before first use

// For a host that watches a running guest by reading its memory (tools/floe/image/vitals.py): the regions, how many
// there are and may be, the machine's RAM, and the C heap's end, now and at its highest.
__attribute__((section(".rodata.vitals"))) const uintptr_t hal_mem_vitals[] = {
    (uintptr_t)boot_ram,        (uintptr_t)&boot_ram_count, BOOT_RAM_MAX,
    (uintptr_t)&boot_ram_total, (uintptr_t)&sbrk_now,       (uintptr_t)&sbrk_peak,
};

static uint64_t floor_of(unsigned region) {
    if (region > 0) {
        return boot_ram[region].start;
    }
    return sbrk_peak != 0 ? sbrk_peak : boot_ram[0].start;
}

// The C heap lives in the region behind the image; a small one there (the gap before the native code
// arena) would starve it, so that it takes the largest of the low ones.
static unsigned heap_region(void) {
    static unsigned chosen = BOOT_RAM_MAX;
    if (chosen == BOOT_RAM_MAX) {
        chosen = 0;
        for (unsigned i = 1; i < boot_ram_count; i++) {
            if (boot_ram[i].end - boot_ram[i].start > boot_ram[chosen].end - boot_ram[chosen].start) {
                chosen = i;
            }
        }
        boot_ram_t t = boot_ram[0]; // region 0 is the C heap's from here on
        boot_ram[0] = boot_ram[chosen];
        boot_ram[chosen] = t;
    }
    return 0;
}

void *hal_mem_sbrk(ptrdiff_t bytes) {
    unsigned r = heap_region();
    if (sbrk_now == 0) {
        sbrk_now = sbrk_peak = boot_ram[r].start;
    }
    if ((bytes > 0 && (uint64_t)bytes > boot_ram[r].end - sbrk_now) ||
        (bytes < 0 && (uint64_t)-bytes > sbrk_now - boot_ram[r].start)) {
        return (void *)-1;
    }
    void *old = (void *)sbrk_now;
    sbrk_now += (uint64_t)bytes;
    if (sbrk_now > sbrk_peak) {
        sbrk_peak = sbrk_now;
    }
    return old;
}

size_t hal_mem_sbrk_used(void) { return sbrk_now == 0 ? 0 : sbrk_now - boot_ram[0].start; }

// Bytes free in a region when reserve of region 0 is kept for the C heap.
static uint64_t room(unsigned region, size_t reserve) {
    heap_region();
    uint64_t low = floor_of(region) + (region == 0 ? reserve : 0);
    return boot_ram[region].end > low ? boot_ram[region].end - low : 0;
}

void *hal_mem_take(size_t bytes, size_t align, size_t reserve) {
    for (unsigned i = boot_ram_count; i-- > 0;) {
        uint64_t free_bytes = room(i, reserve);
        uint64_t at = (boot_ram[i].end - bytes) & ~(uint64_t)(align - 1);
        if (bytes <= free_bytes && boot_ram[i].end - at <= free_bytes) {
            boot_ram[i].end = at;
            return (void *)at;
        }
    }
    return NULL;
}

bool hal_mem_return(void *p, size_t bytes) {
    for (unsigned i = 0; i < boot_ram_count; i++) {
        if (boot_ram[i].end == (uint64_t)p) {
            boot_ram[i].end += bytes;
            return true;
        }
    }
    return false;
}

size_t hal_mem_largest(size_t reserve) {
    uint64_t best = 0;
    for (unsigned i = 0; i < boot_ram_count; i++) {
        uint64_t r = room(i, reserve);
        best = r > best ? r : best;
    }
    return best & ~(uint64_t)(HAL_PAGE_SIZE - 1);
}

void *hal_mem_dma(size_t bytes, size_t align) {
    void *p = hal_mem_take(bytes, align, 0);
    if (p != NULL) {
        memset(p, 0, bytes);
    }
    return p;
}

size_t hal_mem_total(void) { return boot_ram_total; }

void hal_mem_total_changed(ptrdiff_t bytes) { boot_ram_total += (uint64_t)bytes; }

size_t hal_mem_free(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < boot_ram_count; i++) {
        sum += room(i, 0);
    }
    return sum;
}
