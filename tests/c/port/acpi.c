// SPDX-License-Identifier: MIT
// port/boot/acpi.c over tables of the test's. Commands: map ADDR SIZE makes memory, behind which there is none; put
// ADDR HEX; ram START END; read RSDP prints all that was found, and whether the boot page tables are as before.

#include "talk.h"

#include <sys/mman.h>

static void *forget(void *at, int byte, size_t len);
#define memset forget
#include "boot/acpi.c"
#undef memset

uint64_t boot_pdpt[ENTRIES] = {7};
boot_ram_t boot_ram[BOOT_RAM_MAX];
unsigned boot_ram_count;
uint64_t *boot_new_table(void) { abort(); }
uint8_t monitor_ports[MONITOR_PORTS / 8];

// The processor follows an entry whose lowest bits say that it is there, to be written, and ring 3's: 7; one of 2 MiB
// has bit 7, too. All are looked at before they are forgotten.
static void *forget(void *at, int byte, size_t len) {
    for (uint64_t g = 1; at == &boot_pdpt[1] && g < ENTRIES; g++) {
        const uint64_t *pd = (const uint64_t *)(boot_pdpt[g] & ~0xfffull);
        bool good = boot_pdpt[g] == 0 || (boot_pdpt[g] & 0xfff) == 7;
        for (uint64_t i = 0; good && pd != NULL && i < ENTRIES; i++) {
            good = pd[i] == (g << 30 | i << 21 | 0x87);
        }
        if (!good) {
            printf("wrongly mapped: GiB %u\n", (unsigned)g);
        }
    }
    return memset(at, byte, len);
}

static void print(uint64_t rsdp) {
    memset(monitor_ports, 0xff, sizeof(monitor_ports));
    boot_acpi_read(rsdp);
    const boot_acpi_t *a = &boot_acpi;
    printf("button %x %x %x %u\n", a->button, a->button_enable, a->button_events, a->button_gsi);
    if (a->iommu != 0) {
        printf("iommu %x\n", a->iommu);
    }
    for (unsigned port = 0; port < MONITOR_PORTS; port++) {
        if ((monitor_ports[port / 8] & 1u << port % 8) == 0) {
            printf("port %x\n", port);
        }
    }
    printf("sleep %x %u\n", a->sleep_control, a->sleep_type);
    printf("pci %x %x %x\n", a->pci_config, a->pci_start, a->pci_end);
    for (unsigned i = 0; i < a->ioapic_count; i++) {
        printf("ioapic %x %u\n", a->ioapic[i].base, a->ioapic[i].gsi);
    }
    for (unsigned i = 0; i < a->virtio_count; i++) {
        printf("virtio %x %x %u\n", a->virtio[i].base, a->virtio[i].size, a->virtio[i].gsi);
    }
    for (unsigned i = 1; i < ENTRIES; i++) {
        if (boot_pdpt[i] != 0) {
            printf("still mapped: GiB %u\n", i);
        }
    }
}

static void command(const talk_t *t) {
    void *at = (void *)talk_number(t, 1);
    if (talk_is(t, "map")) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
        if (mmap(at, talk_number(t, 2), PROT_READ | PROT_WRITE, flags, -1, 0) != at) {
            printf("cannot map\n");
        }
    } else if (talk_is(t, "put")) {
        size_t len;
        unsigned char *p = talk_bytes(t, 2, &len);
        memcpy(at, p, len);
        free(p);
    } else if (talk_is(t, "ram")) {
        boot_ram[boot_ram_count++] = (boot_ram_t){talk_number(t, 1), talk_number(t, 2)};
    } else if (talk_is(t, "read")) {
        print(talk_number(t, 1));
    }
}

int main(void) { return talk(command); }
