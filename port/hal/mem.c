// SPDX-License-Identifier: MIT
// Free RAM, in regions with unmapped pages between them: the first one is the C heap's (sbrk), which grows upwards in
// it, the last one that for devices; GC heap areas come from those between. All but the C heap is taken downwards from
// a region's top. What has filled its own region goes on in another: there each side checks the other's border, so
// that they cannot meet. Owns those borders. Not here: where the regions lie (boot/paging.c), the allocators. Context:
// main loop.

#include <string.h>

#include "../boot/boot.h"
#include "internal.h"

// Drawn by boot/place.c, on a page that nothing can write once the monitor is locked.
__attribute__((section(".monitor.ro"))) uintptr_t hal_ram_offset;

static uint64_t sbrk_now, sbrk_peak; // 0 before first use
static uint64_t sbrk_left;           // bytes in regions that the C heap has outgrown

// For a host that watches a running guest by reading its memory (tools/floe/image/vitals.py): the regions, how many
// there are and may be, the machine's RAM, and the C heap's end, now and at its highest, and what it has in regions
// before.
__attribute__((section(".rodata.vitals"))) const uintptr_t hal_mem_vitals[] = {
    (uintptr_t)boot_ram,  (uintptr_t)&boot_ram_count, BOOT_RAM_MAX,          (uintptr_t)&boot_ram_total,
    (uintptr_t)&sbrk_now, (uintptr_t)&sbrk_peak,      (uintptr_t)&sbrk_left,
};

static uint64_t floor_of(unsigned region) {
    if (region > 0) {
        return boot_ram[region].start;
    }
    return sbrk_peak != 0 ? sbrk_peak : boot_ram[0].start;
}

// Where the C heap goes on after its own region: the largest one that is not for devices, if there is any; else there.
static unsigned next_region(void) {
    unsigned best = boot_ram_count - 1;
    uint64_t most = 0;
    for (unsigned i = 1; i + 1 < boot_ram_count; i++) {
        uint64_t bytes = boot_ram[i].end - boot_ram[i].start;
        if (bytes > most) {
            best = i;
            most = bytes;
        }
    }
    return best;
}

// Region 0 is always the C heap's last one; what it leaves behind in another is free RAM as any.
static bool move_on(uint64_t bytes) {
    unsigned to = next_region();
    if (bytes > boot_ram[to].end - boot_ram[to].start) {
        to = boot_ram_count - 1;
    }
    boot_ram_t t = boot_ram[to];
    if (to == 0 || bytes > t.end - t.start) {
        return false;
    }
    sbrk_left += sbrk_now - boot_ram[0].start;
    boot_ram[to] = (boot_ram_t){sbrk_peak, boot_ram[0].end};
    boot_ram[0] = t;
    sbrk_now = sbrk_peak = t.start;
    return true;
}

void *hal_mem_sbrk(ptrdiff_t bytes) {
    if (sbrk_now == 0) {
        sbrk_now = sbrk_peak = boot_ram[0].start;
    }
    if ((bytes > 0 && (uint64_t)bytes > boot_ram[0].end - sbrk_now && !move_on((uint64_t)bytes)) ||
        (bytes < 0 && (uint64_t)-bytes > sbrk_now - boot_ram[0].start)) {
        return (void *)-1;
    }
    void *old = (void *)sbrk_now;
    sbrk_now += (uint64_t)bytes;
    if (sbrk_now > sbrk_peak) {
        sbrk_peak = sbrk_now;
    }
    return old;
}

size_t hal_mem_sbrk_used(void) { return sbrk_now == 0 ? 0 : sbrk_left + sbrk_now - boot_ram[0].start; }

// Bytes free in a region when reserve is kept for the C heap: in its own region, and what it has not there in the next.
static uint64_t room(unsigned region, size_t reserve) {
    uint64_t low = floor_of(region), own = boot_ram[0].end - floor_of(0);
    if (region == 0) {
        low += reserve;
    } else if (reserve > own && region == next_region()) {
        low += reserve - own;
    }
    return boot_ram[region].end > low ? boot_ram[region].end - low : 0;
}

static void *take_from(unsigned region, size_t bytes, size_t align, size_t reserve) {
    uint64_t free_bytes = room(region, reserve);
    uint64_t at = (boot_ram[region].end - bytes) & ~(uint64_t)(align - 1);
    if (bytes > free_bytes || boot_ram[region].end - at > free_bytes) {
        return NULL;
    }
    boot_ram[region].end = at;
    return (void *)at;
}

static void *take_from_any(size_t bytes, size_t align, size_t reserve) {
    void *p = NULL;
    for (unsigned i = boot_ram_count; p == NULL && i-- > 0;) {
        p = take_from(i, bytes, align, reserve);
    }
    return p;
}

void *hal_mem_take(size_t bytes, size_t align, size_t reserve) {
    void *p = NULL;
    for (unsigned i = boot_ram_count - 1; p == NULL && i-- > 1;) {
        p = take_from(i, bytes, align, reserve);
    }
    return p != NULL ? p : take_from_any(bytes, align, reserve);
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
    void *p = take_from_any(bytes, align, 0);
    if (p != NULL) {
        hal_clear(p, bytes);
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
