// SPDX-License-Identifier: MIT
// port/hal/blob.c and fwcfg.c over a fake fw_cfg device that can lie. Commands: file NAME HEX [SIZE [KEY]] adds a file
// whose directory entry may say another size and key; count N lies about their number; endless NAME has no end;
// fault FETCH KIND: that fetch (from 0) ends in an "error" or "never"; absent; size NAME; read NAME LEN;
// next PREFIX SIZE; uuid HEX; get_uuid; fetches.

#include "talk.h"

#include "hal/hal.h"

static void fake_out32(uint16_t port, uint32_t v);
static uint32_t fake_in32(uint16_t port);

static uint64_t now;
static uint64_t fake_clock(void) { return now += 1000000; }

#define hal_out32 fake_out32
#define hal_in32 fake_in32
#define hal_clock_ns fake_clock
#include "hal/blob.c"
#include "hal/fwcfg.c"

const hal_platform_t *hal_platform; // a PC
const hal_blobs_t xen_blobs;

enum { ITEMS_MAX = 100 };

static struct {
    char name[NAME_LEN];
    uint32_t size, key;
    unsigned char *data;
    size_t len;
} items[ITEMS_MAX];
static unsigned item_count, fetches, fault_at = ~0u;
static int64_t told_count = -1;
static const char *fault;
static bool absent;
static unsigned char uuid[16];
static char fault_kind[16];
static uint64_t address;
uintptr_t hal_ram_offset = 0x200000;

void hal_console_log(const void *data, size_t len) { printf("log %.*s", (int)len, (const char *)data); }

_Noreturn void hal_panic(const char *fmt, ...) {
    printf("PANIC %s\n", fmt);
    exit(1);
}

static void put(unsigned char *to, size_t room, size_t at, const void *data, size_t len) {
    for (size_t i = 0; i < len && at + i < room; i++) {
        to[at + i] = ((const unsigned char *)data)[i];
    }
}

static void directory_to(unsigned char *to, size_t len) {
    uint32_t count = __builtin_bswap32(told_count >= 0 ? (uint32_t)told_count : item_count);
    put(to, len, 0, &count, 4);
    for (unsigned i = 0; i < item_count; i++) {
        fwcfg_file_t f = {__builtin_bswap32(items[i].size), __builtin_bswap16((uint16_t)items[i].key), 0, {0}};
        memcpy(f.name, items[i].name, NAME_LEN);
        put(to, len, 4 + i * sizeof(f), &f, sizeof(f));
    }
}

static void transfer(volatile fwcfg_dma_t *dma) {
    uint32_t control = __builtin_bswap32(dma->control), key = control >> DMA_KEY_SHIFT;
    unsigned char *to = (unsigned char *)(__builtin_bswap64(dma->address) + hal_ram_offset);
    size_t len = __builtin_bswap32(dma->length);
    if (fetches++ == fault_at) {
        dma->control = strcmp(fault, "error") == 0 ? __builtin_bswap32(DMA_ERROR) : dma->control;
        return;
    }
    memset(to, 0, len);
    if (key == KEY_UUID) {
        put(to, len, 0, uuid, sizeof(uuid));
    } else if (key == KEY_DIRECTORY) {
        directory_to(to, len);
    }
    for (unsigned i = 0; i < item_count; i++) {
        if (key == items[i].key) {
            put(to, len, 0, items[i].data, items[i].len);
        }
    }
    dma->control = 0;
}

static void fake_out32(uint16_t port, uint32_t v) {
    if (port == PORT_DMA_HIGH) {
        address = (uint64_t)__builtin_bswap32(v) << 32;
    } else if (port == PORT_DMA_LOW) {
        transfer((volatile fwcfg_dma_t *)((address | __builtin_bswap32(v)) + hal_ram_offset));
    }
}

static uint32_t fake_in32(uint16_t port) {
    return port == PORT_DMA_HIGH && !absent ? __builtin_bswap32(DMA_SIGNATURE) : 0xffffffff;
}

static void add(const talk_t *t) {
    unsigned i = item_count++;
    strncpy(items[i].name, t->word[1], NAME_LEN - 1);
    items[i].data = talk_bytes(t, 2, &items[i].len);
    items[i].size = t->n > 3 ? (uint32_t)talk_number(t, 3) : (uint32_t)items[i].len;
    items[i].key = t->n > 4 ? (uint32_t)talk_number(t, 4) : KEY_FIRST_FILE + i;
}

static void read_blob(const talk_t *t) {
    size_t len = (size_t)talk_number(t, 2);
    unsigned char *out = malloc(len + 1); // the sanitizer watches its end
    int err = hal_blob_read(t->word[1], out, len);
    if (err != 0) {
        printf("%d\n", err);
    } else {
        talk_print_bytes(out, len);
    }
    free(out);
}

static void next_blobs(const talk_t *t) {
    size_t pos = 0, size = (size_t)talk_number(t, 2);
    char *out = malloc(size);
    int len;
    while ((len = hal_blob_next(t->word[1], &pos, out, size)) >= 0) {
        printf("%d %s\n", len, out);
    }
    printf("%d\n", len);
    free(out);
}

static void command(const talk_t *t) {
    uint8_t got[16];
    if (talk_is(t, "file")) {
        add(t);
    } else if (talk_is(t, "endless")) {
        add(t);
        memset(items[item_count - 1].name, 'x', NAME_LEN);
    } else if (talk_is(t, "count")) {
        told_count = (int64_t)talk_number(t, 1);
    } else if (talk_is(t, "fault")) {
        fault_at = (unsigned)talk_number(t, 1);
        strncpy(fault_kind, t->word[2], sizeof(fault_kind) - 1);
        fault = fault_kind;
    } else if (talk_is(t, "absent")) {
        absent = true;
    } else if (talk_is(t, "size")) {
        printf("%d\n", hal_blob_size(t->word[1]));
    } else if (talk_is(t, "read")) {
        read_blob(t);
    } else if (talk_is(t, "next")) {
        next_blobs(t);
    } else if (talk_is(t, "uuid")) {
        size_t len;
        unsigned char *p = talk_bytes(t, 1, &len);
        memcpy(uuid, p, len < 16 ? len : 16);
        free(p);
    } else if (talk_is(t, "get_uuid")) {
        if (hal_vm_uuid(got)) {
            talk_print_bytes(got, 16);
        } else {
            printf("none\n");
        }
    } else if (talk_is(t, "fetches")) {
        printf("%u\n", fetches);
    }
}

int main(void) { return talk(command); }
