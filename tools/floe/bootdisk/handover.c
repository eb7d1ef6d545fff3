// SPDX-License-Identifier: MIT
// Reads what the loader says (Multiboot2 Specification 2.0, clause 3.6), places the segments of the image (an ELF of 64
// bits with a PVH note) and describes the machine as PVH has it. Owns nothing. Not here: the first and the last
// instruction (handoverentry.S). Context: see handover.h; compiled for the tests' host as well, where HANDOVER_AT says
// where the machine's memory is. Neither the loader's tables nor the ELF are trusted.

#include "handover.h"

#ifndef HANDOVER_AT
#define HANDOVER_AT(address) ((uint8_t *)(address))
#endif

#define IMAGE_START 0x100000ull
#define IMAGE_END 0x40000000ull // the page tables with which an image starts end there
#define BELOW_4_GIB 0x100000000ull
#define NVS_END 0x1000000ull
#define ROOM_BEHIND 0x200000ull // for an image's page tables
#define PAGE 0x1000ull

enum { TAG_END = 0, TAG_MODULE = 3, TAG_MEMORY = 6, TAG_RSDP_OLD = 14, TAG_RSDP_NEW = 15 };
enum { TAG_HEADER = 8, TAGS_MAX = 1 << 20, MODULE_STRING = 16, MEMORY_FIRST = 16, MEMORY_ENTRY = 24 };
enum { RAM = 1, NVS = 4, PVH_MAGIC = 0x336ec578 };
enum { PT_LOAD = 1, PT_NOTE = 4, NOTE_PVH = 18, ELF_HEADER = 64, SEGMENT = 56, SEGMENTS_MAX = 16, EM_X86_64 = 62 };
enum { REGIONS_MAX = 128 };

typedef struct {
    uint64_t start, end;
} region_t;

typedef struct {
    uint32_t module, module_size, command, command_size, memory, memory_size, rsdp, rsdp_size;
} told_t;

typedef struct {
    uint32_t count, entry;
    region_t image; // all segments
    struct {
        uint32_t from, bytes, to, room;
    } segment[SEGMENTS_MAX];
} elf_t;

static uint32_t get32(uint64_t at) {
    const uint8_t *p = HANDOVER_AT((uint32_t)at);
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t get16(uint64_t at) { return get32(at) & 0xffff; }

static uint64_t get64(uint64_t at) { return get32(at) | (uint64_t)get32(at + 4) << 32; }

// 3.6.2: tags, each aligned to 8 bytes, the last one of type 0.
static const char *read_tags(uint32_t at, told_t *told) {
    uint32_t size = get32(at), modules = 0;
    if (at % 8 != 0 || size > TAGS_MAX || size > BELOW_4_GIB - at) {
        return "the loader's table is too large";
    }
    for (uint32_t next = 8; next + TAG_HEADER <= size;) {
        uint32_t tag = at + next, type = get32(tag), len = get32(tag + 4);
        if (len < TAG_HEADER || len > size - next) {
            return "the loader's table is cut";
        }
        if (type == TAG_END) {
            break;
        }
        if (type == TAG_MODULE && len > MODULE_STRING) {
            uint32_t start = get32(tag + 8), end = get32(tag + 12);
            modules++;
            told->module = start;
            told->module_size = end > start ? end - start : 0;
            told->command = tag + MODULE_STRING;
            told->command_size = len - MODULE_STRING;
        } else if (type == TAG_MEMORY && len >= MEMORY_FIRST) {
            told->memory = tag;
            told->memory_size = len;
        } else if (type == TAG_RSDP_NEW || (type == TAG_RSDP_OLD && told->rsdp == 0)) {
            told->rsdp = tag + TAG_HEADER;
            told->rsdp_size = len - TAG_HEADER;
        }
        next += (len + 7) & ~7u;
    }
    return modules != 1 ? "there is not one module, the image" : told->memory == 0 ? "there is no map of memory" : 0;
}

static bool is_within(uint64_t at, uint64_t size, uint64_t end) { return at <= end && size <= end - at; }

// XEN_ELFNOTE_PHYS32_ENTRY, or 0.
static uint32_t entry_of(uint64_t at, uint64_t size) {
    for (uint64_t next = 0; size - next >= 12;) {
        uint32_t name = get32(at + next), desc = get32(at + next + 4), type = get32(at + next + 8);
        uint64_t body = next + 12 + ((name + 3ull) & ~3ull), end = body + ((desc + 3ull) & ~3ull);
        if (end > size) {
            return 0;
        }
        if (type == NOTE_PVH && name == 4 && desc >= 4 && get32(at + next + 12) == 0x6e6558) {
            return get32(at + body);
        }
        next = end;
    }
    return 0;
}

static const char *add_segment(const told_t *told, uint32_t header, elf_t *elf) {
    uint64_t offset = get64(header + 8), to = get64(header + 24), bytes = get64(header + 32);
    uint64_t room = get64(header + 40);
    if (elf->count == SEGMENTS_MAX || !is_within(offset, bytes, told->module_size) || bytes > room ||
        to < IMAGE_START || !is_within(to, room, IMAGE_END)) {
        return "a segment of the image does not fit";
    }
    elf->segment[elf->count].from = (uint32_t)offset;
    elf->segment[elf->count].bytes = (uint32_t)bytes;
    elf->segment[elf->count].to = (uint32_t)to;
    elf->segment[elf->count].room = (uint32_t)room;
    elf->count++;
    elf->image.start = elf->count == 1 || to < elf->image.start ? to : elf->image.start;
    elf->image.end = to + room > elf->image.end ? to + room : elf->image.end;
    return 0;
}

static const char *read_elf(const told_t *told, elf_t *elf) {
    uint32_t at = told->module;
    if (told->module_size < ELF_HEADER || get32(at) != 0x464c457f || get16(at + 4) != 0x0102 ||
        get16(at + 18) != EM_X86_64 || get16(at + 54) != SEGMENT) {
        return "the module is no ELF for x86-64";
    }
    uint64_t headers = get64(at + 32), count = get16(at + 56);
    if (!is_within(headers, count * SEGMENT, told->module_size)) {
        return "the image is cut";
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t header = at + (uint32_t)headers + i * SEGMENT, type = get32(header);
        if (type == PT_LOAD) {
            const char *wrong = add_segment(told, header, elf);
            if (wrong != 0) {
                return wrong;
            }
        } else if (type == PT_NOTE && elf->entry == 0) {
            uint64_t offset = get64(header + 8), size = get64(header + 32);
            if (!is_within(offset, size, told->module_size)) {
                return "the image is cut";
            }
            elf->entry = entry_of(at + offset, size);
        }
    }
    return elf->entry < elf->image.start || elf->entry >= elf->image.end ? "the image has no PVH entry" : 0;
}

static void insert(region_t *all, uint32_t *count, region_t new) {
    uint32_t i = *count;
    if (new.start >= new.end || i == REGIONS_MAX) {
        return;
    }
    for (; i > 0 && all[i - 1].start > new.start; i--) {
        all[i] = all[i - 1];
    }
    all[i] = new;
    (*count)++;
}

// RAM from 1 MiB on, ascending, what adjoins joined. UEFI keeps a page or two there for a wake-up from S3, which no
// image does: that is RAM too, as it would lie amid an image.
static uint32_t read_memory(const told_t *told, region_t *all) {
    uint32_t count = 0, joined = 0, each = get32(told->memory + 8);
    if (each < MEMORY_ENTRY) {
        return 0;
    }
    for (uint32_t next = MEMORY_FIRST; is_within(next, each, told->memory_size); next += each) {
        uint64_t start = get64(told->memory + next), size = get64(told->memory + next + 8);
        uint32_t type = get32(told->memory + next + 16);
        uint64_t end = size > UINT64_MAX - start ? UINT64_MAX : start + size;
        if (type == RAM || (type == NVS && end <= NVS_END)) {
            start = start < IMAGE_START ? IMAGE_START : start;
            insert(all, &count, (region_t){(start + PAGE - 1) & ~(PAGE - 1), end & ~(PAGE - 1)});
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (joined > 0 && all[i].start <= all[joined - 1].end) {
            all[joined - 1].end = all[i].end > all[joined - 1].end ? all[i].end : all[joined - 1].end;
        } else {
            all[joined++] = all[i];
        }
    }
    return joined;
}

static uint64_t size_of(region_t r) { return r.end - r.start; }

// The image's region, and the largest of the others, ascending.
static uint32_t choose(region_t *all, uint32_t count, uint32_t image) {
    while (count > HANDOVER_RAM_MAX) {
        uint32_t least = image == 0 ? 1 : 0;
        for (uint32_t i = 0; i < count; i++) {
            least = i != image && size_of(all[i]) < size_of(all[least]) ? i : least;
        }
        for (uint32_t i = least; i + 1 < count; i++) {
            all[i] = all[i + 1];
        }
        image -= least < image;
        count--;
    }
    return count;
}

static void copy(uint32_t to, uint32_t from, uint32_t bytes) {
    __builtin_memmove(HANDOVER_AT(to), HANDOVER_AT(from), bytes);
}

// Where the file does not lie in the way of its own segments; 0: nowhere.
static uint32_t out_of_the_way(const told_t *told, const elf_t *elf, const region_t *all, uint32_t count) {
    if (told->module >= elf->image.end || told->module + (uint64_t)told->module_size <= elf->image.start) {
        return told->module;
    }
    for (uint32_t i = count; i-- > 0;) {
        uint64_t end = all[i].end < BELOW_4_GIB ? all[i].end : BELOW_4_GIB - PAGE;
        uint64_t start = all[i].start < elf->image.end ? elf->image.end : all[i].start;
        uint64_t to = end < told->module_size ? 0 : (end - told->module_size) & ~(PAGE - 1);
        if (start < end && to >= start) {
            return (uint32_t)to;
        }
    }
    return 0;
}

// GRUB puts a backslash before quotes and backslashes, and quotes around a word with blanks.
static bool copy_command(const told_t *told, char *to) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < told->command_size; i++) {
        char c = (char)*HANDOVER_AT(told->command + i);
        if (c == '\\' && i + 1 < told->command_size) {
            c = (char)*HANDOVER_AT(told->command + ++i);
        } else if (c == '"') {
            continue;
        }
        if (c == '\0') {
            break;
        }
        if (used == HANDOVER_CMDLINE_MAX - 1) {
            return false;
        }
        to[used++] = c;
    }
    to[used] = '\0';
    return true;
}

static void describe(const told_t *told, const region_t *all, uint32_t count, handover_t *out, uint32_t at) {
    uint32_t rsdp = told->rsdp_size < HANDOVER_RSDP_MAX ? told->rsdp_size : HANDOVER_RSDP_MAX;
    for (uint32_t i = 0; i < rsdp; i++) {
        out->rsdp[i] = *HANDOVER_AT(told->rsdp + i);
    }
    for (uint32_t i = 0; i < count; i++) {
        out->ram[i] = (handover_ram_t){all[i].start, size_of(all[i]), RAM, 0};
    }
    out->info = (handover_info_t){
        .magic = PVH_MAGIC,
        .version = 1,
        .cmdline = at + __builtin_offsetof(handover_t, cmdline),
        .rsdp = told->rsdp != 0 ? at + __builtin_offsetof(handover_t, rsdp) : 0,
        .memmap = at + __builtin_offsetof(handover_t, ram),
        .memmap_entries = count,
    };
}

const char *handover_place(uint32_t eax, uint32_t ebx, handover_t *out, uint32_t out_at, uint32_t *entry) {
    static region_t all[REGIONS_MAX];
    told_t told = {0};
    elf_t elf = {0};
    if (eax != HANDOVER_MAGIC) {
        return "the loader does not speak Multiboot2";
    }
    const char *wrong = read_tags(ebx, &told);
    wrong = wrong != 0 ? wrong : read_elf(&told, &elf);
    if (wrong != 0) {
        return wrong;
    }
    uint32_t count = read_memory(&told, all), image = 0;
    while (image < count && !(all[image].start <= elf.image.start && all[image].end >= elf.image.end + ROOM_BEHIND)) {
        image++;
    }
    if (image == count) {
        return "the image's place is not all RAM here";
    }
    uint32_t moved = out_of_the_way(&told, &elf, all, count);
    if (moved == 0) {
        return "there is too little RAM for the image";
    }
    if (!copy_command(&told, out->cmdline)) {
        return "the image's command line has more than 4095 bytes";
    }
    describe(&told, all, choose(all, count, image), out, out_at);
    copy(moved, told.module, told.module_size);
    for (uint32_t i = 0; i < elf.count; i++) {
        copy(elf.segment[i].to, moved + elf.segment[i].from, elf.segment[i].bytes);
        uint32_t rest = elf.segment[i].room - elf.segment[i].bytes;
        __builtin_memset(HANDOVER_AT(elf.segment[i].to + elf.segment[i].bytes), 0, rest);
    }
    *entry = elf.entry;
    return 0;
}
