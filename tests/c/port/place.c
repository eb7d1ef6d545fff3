// SPDX-License-Identifier: MIT
// port/boot/place.c on the host. Commands: cmdline WORDS, joined by blanks; random N, what is drawn next; place: the
// offset; move OFFSET RELR IMAGE [APPENDED], all in hexadecimal, the image at 0x10000000 and ring 0's data in its first
// two words: the image afterwards. APPENDED: floe_app's list of what is moved besides.

#include "talk.h"

#include <sys/mman.h>

#include "app.h"
#include "boot/boot.h"
#include "monitor/monitor.h"

enum { IMAGE_AT = 0x10000000, IMAGE_MAX = 1 << 16, RELR_MAX = 4096 };

static floe_app_t fake_app;
#define floe_app fake_app
#include "boot/place.c"

__asm__(".data\n.balign 8\n.globl link_relr, link_relr_end\nlink_relr: .skip 4096\nlink_relr_end:\n.text\n");

uint64_t monitor_panic_entry, monitor_panic_stack;
char boot_cmdline[BOOT_CMDLINE_MAX], boot_panic_stack_top[1], boot_stack_top[8];
uintptr_t hal_ram_offset;
static uint64_t drawn;
uint64_t boot_random(void) { return drawn; }
_Noreturn void hal_fault_entry(void) { abort(); }
_Noreturn void boot_go_on(int refused) { exit(refused); }
TALK_PANIC(exit(1))

static void move_image(const talk_t *t) {
    size_t relr_len, len, len_of_list;
    unsigned char *list = talk_bytes(t, 2, &relr_len), *bytes = talk_bytes(t, 3, &len);
    uint64_t *relr = (uint64_t *)(uintptr_t)link_relr;
    for (unsigned i = 0; i < RELR_MAX / 8; i++) {
        relr[i] = 1; // a bitmap of nothing
    }
    memcpy(relr, list, relr_len);
    memcpy((void *)IMAGE_AT, bytes, len);
    hal_ram_offset = talk_number(t, 1);
    unsigned char *appended = t->n > 4 ? talk_bytes(t, 4, &len_of_list) : NULL;
    fake_app.moved = (uint64_t *const *)appended;
    relocate();
    free(appended);
    talk_print_bytes((void *)IMAGE_AT, len);
    free(list);
    free(bytes);
}

static void command(const talk_t *t) {
    if (talk_is(t, "cmdline")) {
        memset(boot_cmdline, 0, sizeof(boot_cmdline));
        for (int i = 1; i < t->n; i++) {
            strcat(strcat(boot_cmdline, t->word[i]), " ");
        }
    } else if (talk_is(t, "random")) {
        drawn = talk_number(t, 1);
    } else if (talk_is(t, "place")) {
        boot_place();
        printf("%lx\n", hal_ram_offset);
    } else if (talk_is(t, "move")) {
        move_image(t);
    }
}

int main(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap((void *)IMAGE_AT, IMAGE_MAX, PROT_READ | PROT_WRITE, flags, -1, 0) != (void *)IMAGE_AT) {
        perror("mmap");
        return 1;
    }
    return talk(command);
}
