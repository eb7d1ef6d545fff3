// SPDX-License-Identifier: MIT
// port/hal/blob.c and fwcfg.c over a fake fw_cfg device that can lie. Commands: file NAME HEX [SIZE [KEY]] adds a file
// whose directory entry may say another size and key; count N lies about their number; endless NAME has no end; absent;
// size NAME; read NAME LEN; next PREFIX SIZE; uuid HEX; get_uuid; fetches.

#include "talk.h"

#include "hal/hal.h"

static void fake_out16(uint16_t port, uint16_t v);
static void fake_ins8(uint16_t port, void *out, size_t n);

#define hal_out16 fake_out16
#define hal_ins8 fake_ins8
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
static unsigned item_count, fetches, selected;
static size_t offset; // in what is selected
static int64_t told_count = -1;
static bool absent;
static unsigned char uuid[16];

void hal_console_log(const void *data, size_t len) { printf("log %.*s", (int)len, (const char *)data); }

_Noreturn void hal_panic(const char *fmt, ...) {
    printf("PANIC %s\n", fmt);
    exit(1);
}

// The bytes of an item; behind its end there are zeros.
static size_t content(unsigned char *to, size_t room) {
    size_t len = 0;
    if (selected == KEY_SIGNATURE) {
        len = (size_t)snprintf((char *)to, room, "%s", SIGNATURE);
    } else if (selected == KEY_UUID) {
        memcpy(to, uuid, len = sizeof(uuid));
    } else if (selected == KEY_DIRECTORY) {
        uint32_t count = __builtin_bswap32(told_count >= 0 ? (uint32_t)told_count : item_count);
        memcpy(to, &count, len = sizeof(count));
        for (unsigned i = 0; i < item_count; i++, len += sizeof(fwcfg_file_t)) {
            fwcfg_file_t f = {__builtin_bswap32(items[i].size), __builtin_bswap16((uint16_t)items[i].key), 0, {0}};
            memcpy(f.name, items[i].name, NAME_LEN);
            memcpy(to + len, &f, sizeof(f));
        }
    }
    for (unsigned i = 0; i < item_count; i++) {
        if (selected == items[i].key && len == 0) {
            memcpy(to, items[i].data, len = items[i].len);
        }
    }
    return len;
}

static void fake_out16(uint16_t port, uint16_t v) {
    if (port == PORT_SELECTOR && !absent) {
        selected = v;
        offset = 0;
        fetches += v != KEY_SIGNATURE;
    }
}

static void fake_ins8(uint16_t port, void *out, size_t n) {
    static unsigned char item[1 << 20];
    size_t len = content(item, sizeof(item));
    for (size_t i = 0; i < n; i++, offset++) {
        ((unsigned char *)out)[i] = port != PORT_DATA || absent ? 0xff : offset < len ? item[offset] : 0;
    }
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
