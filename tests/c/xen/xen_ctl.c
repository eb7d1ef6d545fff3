// SPDX-License-Identifier: MIT
// port/xen/control.c and blob.c by commands: probe; seeded 0|1 (the processor gives randomness); reboot;
// balloon_refused COUNT; elsewhere 0|1 (where the VM goes on after a suspend); blob_size NAME; blob_read NAME LEN;
// blob_next PREFIX SIZE (all of them); uuid.
// hal_exit() ends the process: "EXIT code reboot".

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"
#include "fake_xen.h"
#include "internal.h"
#include "xen/shared.h"

bool xen_extra_command(char **word, unsigned words);

extern const hal_driver_t xen_control_driver;
const char *hal_console_stop = "\x03";

static uint64_t balloon_refused;
int xen_balloon_watch(void) {
    printf("balloon\n");
    if (balloon_refused > 0) {
        balloon_refused--;
        return -ETIMEDOUT;
    }
    return 0;
}

static bool elsewhere;
bool xen_suspend(void (*with_store)(void)) {
    const char *request = fake_xs_get("control/shutdown");
    printf("SUSPEND [%s]\n", request); // it has been answered by now
    fake_xs_log();
    if (elsewhere) {
        with_store();
    }
    return elsewhere;
}

_Noreturn void hal_exit(int code) {
    printf("EXIT %d %d\n", code, xen_control_reboot);
    fflush(stdout);
    _Exit(0);
}

static void print(const uint8_t *p, size_t len) {
    fake_hex(p, len);
    printf("\n");
}

bool xen_extra_command(char **word, unsigned words) {
    const char *what = word[0];
    uint64_t number = words > 2 ? fake_xen_word(word, words, 2) : 0;
    uint8_t *out = malloc(number + 1), uuid[16]; // the sanitizer watches its end
    if (strcmp(what, "probe") == 0) {
        printf("%d\n", xen_control_driver.probe());
    } else if (strcmp(what, "seeded") == 0) {
        fake_hal.seeded = fake_xen_word(word, words, 1) != 0;
    } else if (strcmp(what, "elsewhere") == 0) {
        elsewhere = fake_xen_word(word, words, 1) != 0;
    } else if (strcmp(what, "balloon_refused") == 0) {
        balloon_refused = fake_xen_word(word, words, 1);
    } else if (strcmp(what, "reboot") == 0) {
        printf("%d\n", xen_control_reboot);
    } else if (strcmp(what, "blob_size") == 0) {
        printf("%d\n", xen_blobs.size(word[1]));
    } else if (strcmp(what, "blob_read") == 0) {
        int err = xen_blobs.read(word[1], out, number);
        err == 0 ? print(out, number) : (void)printf("%d\n", err);
    } else if (strcmp(what, "blob_next") == 0) {
        size_t pos = 0;
        int len;
        const char *prefix = strcmp(word[1], "-") == 0 ? "" : word[1];
        while ((len = xen_blobs.next(prefix, &pos, (char *)out, number)) >= 0) {
            printf("%d %s\n", len, (char *)out);
        }
        printf("%d\n", len);
    } else if (strcmp(what, "uuid") == 0) {
        xen_blobs.uuid(uuid) ? print(uuid, 16) : (void)printf("none\n");
    } else {
        free(out);
        return false;
    }
    free(out);
    return true;
}
