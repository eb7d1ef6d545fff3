// SPDX-License-Identifier: MIT
// What of ACPI's tables is needed, read once (ACPI 6.5, clauses 5.2, 6.4 and 20.2): power button, power off, I/O APICs,
// virtio devices, PCI's configuration space. There is no interpreter of AML: what QEMU's tables say in one fixed way is
// looked for in the devices' own bytes. Owns boot_acpi. Not here: who acts on it. Context: ring 3, once, on the boot
// page tables, as the tables lie in memory that is out of reach afterwards. Nothing in them is trusted.

#include <string.h>

#include "../hal/hal.h"
#include "../monitor/monitor.h"
#include "boot.h"

#define GIB (1ull << 30)
#define MIB2 (2ull << 20)
#define BORDER 0xe0000000ull // tables lie in memory below it, and registers from there on, up to 4 GiB
#define REGISTERS_END (4 * GIB)
#define PCI_START 0xc0000000ull
#define PCI_CONFIG_SIZE (256ull << 20) // of all buses
#define PTE_LARGE_USER_WRITE 0x87ull
#define PTE_USER_WRITE 7ull
#define PTE_LARGE_UNCACHED 0x9full // with PWT and PCD

enum { TABLE_HEADER = 36, TABLE_MAX = 1 << 20, DEVICE_NAME = 4, ENTRIES = 512 };
enum { // 5.2.9
    FADT_DSDT = 40,
    FADT_SCI = 46,
    FADT_PM1A_EVENT = 56,
    FADT_PM1_EVENT_LEN = 88,
    FADT_FLAGS = 112,
    FADT_FLAGS_BUTTON_IN_AML = 1 << 4,
    FADT_X_DSDT = 140,
    FADT_SLEEP_CONTROL = 244, // a generic address: kind, 3 bytes, address
    FADT_END = 256,
};
enum { PM1_BUTTON = 1 << 8, LIST_FIRST = 44, MADT_IOAPIC = 1 }; // 4.8.3.1, 5.2.12
enum {                                                          // 6.4
    RESOURCE_LARGE = 0x80,
    RESOURCE_MEMORY32_FIXED = 0x86,
    RESOURCE_DWORD_SPACE = 0x87,
    RESOURCE_INTERRUPT = 0x89,
};

typedef struct {
    uint32_t base, size, gsi, window_start, window_end;
} resources_t;

extern uint64_t boot_pdpt[ENTRIES]; // entry.S
boot_acpi_t boot_acpi;

static uint32_t get32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

// Memory that can be read from now on: the boot page tables end at 1 GiB.
// They grow into free RAM, whose next use clears it.
static bool reach(uint64_t at, uint64_t len) {
    if (at == 0 || at > BORDER - len) {
        return false;
    }
    for (uint64_t g = at / GIB; g <= (at + len - 1) / GIB; g++) {
        if (boot_pdpt[g] == 0) {
            uint64_t *pd = (uint64_t *)(boot_ram[0].start + g * HAL_PAGE_SIZE);
            for (uint64_t i = 0; i < ENTRIES; i++) {
                pd[i] = (g * GIB + i * MIB2) | PTE_LARGE_USER_WRITE;
            }
            boot_pdpt[g] = (uint64_t)pd | PTE_USER_WRITE;
            hal_mb(); // the entries before the first use of what they map
        }
    }
    return true;
}

volatile void *boot_reach(uint64_t registers) {
    uint64_t *pd = boot_new_table();
    pd[registers / MIB2 % ENTRIES] = registers / MIB2 * MIB2 | PTE_LARGE_UNCACHED;
    boot_pdpt[registers / GIB] = (uint64_t)pd | PTE_USER_WRITE;
    hal_mb(); // the entries before the first use of what they map
    return (volatile void *)registers;
}

static bool sums_up(const uint8_t *p, size_t len) {
    uint8_t sum = 0;
    while (len-- > 0) {
        sum = (uint8_t)(sum + *p++);
    }
    return sum == 0;
}

// The table there, and its end; NULL unless it is a whole one of that name.
static const uint8_t *table(uint64_t at, const char *name, const uint8_t **end) {
    if (!reach(at, TABLE_HEADER)) {
        return NULL;
    }
    const uint8_t *t = (const uint8_t *)at;
    uint32_t len = get32(t + 4);
    if (memcmp(t, name, 4) != 0 || len < TABLE_HEADER || len > TABLE_MAX || !reach(at, len) || !sums_up(t, len)) {
        return NULL;
    }
    *end = t + len;
    return t;
}

static bool registers(uint64_t base, uint64_t size) { return base >= BORDER && base <= REGISTERS_END - size; }

// Behind the first place where these bytes stand, or NULL.
static const uint8_t *find(const uint8_t *p, const uint8_t *end, const char *bytes, ptrdiff_t len) {
    for (; end - p >= len; p++) {
        if (memcmp(p, bytes, (size_t)len) == 0) {
            return p + len;
        }
    }
    return NULL;
}

// 20.2.4: the end of what the PkgLength at *p spans, and *p behind it; NULL if that is beyond end.
static const uint8_t *package(const uint8_t **p, const uint8_t *end) {
    const uint8_t *start = *p;
    if (start >= end || end - start <= *start >> 6) {
        return NULL;
    }
    unsigned more = *start >> 6;
    ptrdiff_t len = more > 0 ? *start & 15 : *start & 63;
    for (unsigned i = 0; i < more; i++) {
        len |= (ptrdiff_t)start[1 + i] << (4 + 8 * i);
    }
    *p = start + 1 + more;
    return len > more && len <= end - start ? start + len : NULL;
}

// The resources of a device: what its _CRS, a buffer of descriptors, says.
static void take_resources(const uint8_t *p, const uint8_t *end, resources_t *r) {
    p = find(p, end, "\x08_CRS\x11", 6);
    end = p == NULL ? NULL : package(&p, end);
    if (end == NULL || end - p < 2) {
        return;
    }
    p += *p == 0x0a ? 2 : 3; // the buffer's size, a byte or a word
    while (end - p >= 3) {
        ptrdiff_t len = *p & RESOURCE_LARGE ? 3 + (p[1] | p[2] << 8) : 1 + (*p & 7);
        if (len > end - p) {
            return;
        }
        if (*p == RESOURCE_MEMORY32_FIXED && len >= 12) {
            r->base = get32(p + 4);
            r->size = get32(p + 8);
        } else if (*p == RESOURCE_INTERRUPT && len >= 9) {
            r->gsi = get32(p + 5);
        } else if (*p == RESOURCE_DWORD_SPACE && len >= 26 && p[3] == 0) {
            r->window_start = get32(p + 10);
            r->window_end = get32(p + 14);
        }
        p += len;
    }
}

// A generic event device: its register, and the event that notifies the power button.
static void take_ged(const uint8_t *p, const uint8_t *end, const resources_t *r) {
    const uint8_t *region = find(p, end, "\x5b\x80", 2), *notify = find(p, end, "\x86PWRB", 5);
    if (region == NULL || end - region < DEVICE_NAME + 6 || region[4] != 0 || region[5] != 0x0c || notify == NULL ||
        notify[-7] != 0x0a) {
        return;
    }
    uint32_t at = get32(region + DEVICE_NAME + 2);
    if (registers(at, sizeof(uint32_t)) && at % sizeof(uint32_t) == 0) {
        boot_acpi.button = at;
        boot_acpi.button_events = notify[-6];
        boot_acpi.button_gsi = r->gsi;
    }
}

// Where a bus that tells it has its configuration space, and its memory, which is to be no RAM.
static void take_pci(const uint8_t *p, const uint8_t *end) {
    resources_t r = {0};
    const uint8_t *base = find(p, end, "_CBA\0\xa4\x0c", 7);
    if (base == NULL || end - base < 4) {
        return;
    }
    take_resources(base, end, &r); // what stands before are the interrupt links'
    bool fits = r.window_start >= PCI_START && r.window_start < r.window_end;
    for (unsigned i = 0; i < boot_ram_count; i++) {
        fits = fits && (boot_ram[i].end <= r.window_start || boot_ram[i].start > r.window_end);
    }
    if (fits && registers(get32(base), PCI_CONFIG_SIZE) && get32(base) % HAL_PAGE_SIZE == 0) {
        boot_acpi.pci_config = get32(base);
        boot_acpi.pci_start = r.window_start;
        boot_acpi.pci_end = r.window_end;
    }
}

// What stands between a device's name and its end.
static void take_device(const uint8_t *p, const uint8_t *end) {
    resources_t r = {0};
    if (end - p < 15 || memcmp(p, "\x08_HID\x0d", 6) != 0) {
        return;
    }
    const char *kind = (const char *)p + 6;
    take_resources(p, end, &r);
    if (memcmp(kind, "LNRO0005", 9) == 0) {
        if (registers(r.base, r.size) && r.gsi != 0 && boot_acpi.virtio_count < BOOT_VIRTIO_MAX) {
            boot_acpi.virtio[boot_acpi.virtio_count++] = (boot_registers_t){r.base, r.size, r.gsi};
        }
    } else if (memcmp(kind, "ACPI0013", 9) == 0) {
        take_ged(p, end, &r);
    } else if (memcmp(kind, "PNP0A08", 8) == 0) {
        take_pci(p, end);
    }
}

static void take_dsdt(const uint8_t *p, const uint8_t *end) {
    const uint8_t *last, *s5 = find(p, end, "_S5_\x12", 5);
    if (s5 != NULL && (last = package(&s5, end)) != NULL && last - s5 >= 3) {
        boot_acpi.sleep_type = s5[1] == 0x0a ? s5[2] : s5[1];
    }
    while ((p = find(p, end, "\x5b\x82", 2)) != NULL) { // in a device there may be others
        const uint8_t *body = p;
        last = package(&body, end);
        if (last != NULL && last - body >= DEVICE_NAME) {
            take_device(body + DEVICE_NAME, last);
        }
    }
}

// To ring 3: a register of 16 bits.
static void open_port(unsigned port) {
    for (unsigned p = port; p < port + 2; p++) {
        monitor_ports[p / 8] &= (uint8_t)~(1u << p % 8);
    }
}

static void take_fadt(const uint8_t *t, const uint8_t *end) {
    if (end - t < FADT_FLAGS + 4) {
        return;
    }
    uint32_t event = get32(t + FADT_PM1A_EVENT), len = t[FADT_PM1_EVENT_LEN];
    if (event != 0 && event < MONITOR_PORTS && event + len <= MONITOR_PORTS && len >= 4 && len % 4 == 0 &&
        (get32(t + FADT_FLAGS) & FADT_FLAGS_BUTTON_IN_AML) == 0) {
        boot_acpi.button = event;
        boot_acpi.button_enable = (uint16_t)(event + len / 2);
        boot_acpi.button_events = PM1_BUTTON;
        boot_acpi.button_gsi = t[FADT_SCI];
        open_port(boot_acpi.button);
        open_port(boot_acpi.button_enable);
    }
    bool wide = end - t >= FADT_END;
    if (wide && t[FADT_SLEEP_CONTROL] == 0 && registers(get64(t + FADT_SLEEP_CONTROL + 4), 1)) {
        boot_acpi.sleep_control = get32(t + FADT_SLEEP_CONTROL + 4);
    }
    uint64_t at = get32(t + FADT_DSDT);
    const uint8_t *dsdt_end, *dsdt = table(at == 0 && wide ? get64(t + FADT_X_DSDT) : at, "DSDT", &dsdt_end);
    if (dsdt != NULL) {
        take_dsdt(dsdt + TABLE_HEADER, dsdt_end);
    }
}

static void take_madt(const uint8_t *t, const uint8_t *end) {
    for (const uint8_t *e = t + LIST_FIRST; end - e >= 2 && e[1] >= 2 && e[1] <= end - e; e += e[1]) {
        if (e[0] == MADT_IOAPIC && e[1] >= 12 && registers(get32(e + 4), HAL_PAGE_SIZE) &&
            boot_acpi.ioapic_count < BOOT_IOAPIC_MAX) {
            boot_acpi.ioapic[boot_acpi.ioapic_count++] = (boot_registers_t){get32(e + 4), HAL_PAGE_SIZE, get32(e + 8)};
        }
    }
}

// Intel VT-d 3.3, clause 8: the first unit that is told.
static void take_dmar(const uint8_t *t, const uint8_t *end) {
    enum { DMAR_FIRST = 48, DRHD = 0, DRHD_SIZE = 16 };
    for (const uint8_t *e = t + DMAR_FIRST; end - e >= DRHD_SIZE && boot_acpi.iommu == 0;) {
        uint32_t kind = get32(e) & 0xffff, len = get32(e) >> 16;
        if (kind == DRHD && len >= DRHD_SIZE && registers(get64(e + 8), HAL_PAGE_SIZE)) {
            boot_acpi.iommu = get32(e + 8) / HAL_PAGE_SIZE * HAL_PAGE_SIZE;
        }
        if (len < 4 || end - e < (ptrdiff_t)len) {
            break;
        }
        e += len;
    }
}

static void take_tables(uint64_t list, unsigned width) {
    const uint8_t *end, *t = table(list, width == 8 ? "XSDT" : "RSDT", &end);
    if (t == NULL) {
        return;
    }
    for (t += TABLE_HEADER; end - t >= (ptrdiff_t)width; t += width) {
        uint64_t at = width == 8 ? get64(t) : get32(t);
        const uint8_t *found, *found_end;
        if ((found = table(at, "FACP", &found_end)) != NULL) {
            take_fadt(found, found_end);
        } else if ((found = table(at, "APIC", &found_end)) != NULL) {
            take_madt(found, found_end);
        } else if ((found = table(at, "DMAR", &found_end)) != NULL) {
            take_dmar(found, found_end);
        }
    }
}

void boot_acpi_read(uint64_t rsdp) {
    enum { SHORT = 20, LONG = 36 }; // 5.2.5.3
    const uint8_t *p = (const uint8_t *)rsdp;
    if (reach(rsdp, LONG) && memcmp(p, "RSD PTR ", 8) == 0 && sums_up(p, SHORT)) {
        bool wide = p[15] >= 2 && sums_up(p, LONG) && get64(p + 24) != 0;
        take_tables(wide ? get64(p + 24) : get32(p + 16), wide ? 8 : 4);
        memset(&boot_pdpt[1], 0, (BORDER / GIB) * sizeof(boot_pdpt[0]));
    }
    if (boot_acpi.ioapic_count == 0) {
        boot_acpi.ioapic[boot_acpi.ioapic_count++] = (boot_registers_t){0xfec00000, HAL_PAGE_SIZE, 0};
    }
}
