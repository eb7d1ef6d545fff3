// SPDX-License-Identifier: MIT
// The boot disk's kernel, with 4 GiB of a machine's memory that nobody fills. Standard input: eax and ebx, then pieces
// of memory, each an address, a length and so many bytes. Standard output: the entry, or 0 and what was wrong; then
// what the image is told, and the memory from 1 MiB on, of the length that the arguments have.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint8_t *memory;
#define HANDOVER_AT(address) (memory + (address))

#include "../../../tools/floe/bootdisk/handover.c"

#define MEMORY (4ull << 30)
#define BEHIND 0x10000ull // what begins at the last address may end behind it

static uint32_t word(void) {
    uint32_t value;
    return fread(&value, sizeof(value), 1, stdin) == 1 ? value : 0;
}

int main(int argc, char **argv) {
    static handover_t out;
    memory = mmap(NULL, MEMORY + BEHIND, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (argc != 2 || memory == MAP_FAILED) {
        return 1;
    }
    uint32_t eax = word(), ebx = word(), entry = 0;
    for (uint32_t at = word(), len = word(); len > 0; at = word(), len = word()) {
        if (fread(memory + at, 1, len, stdin) != len) {
            return 1;
        }
    }
    const char *wrong = handover_place(eax, ebx, &out, 0x50000, &entry);
    fwrite(&entry, sizeof(entry), 1, stdout);
    if (wrong != NULL) {
        fputs(wrong, stdout);
        return 0;
    }
    fwrite(&out, sizeof(out), 1, stdout);
    fwrite(memory + IMAGE_START, 1, strtoul(argv[1], NULL, 0), stdout);
    return 0;
}
