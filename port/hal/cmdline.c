// SPDX-License-Identifier: MIT
// Kernel command line: KEY=VALUE words separated by blanks, then "--" and the script's arguments.
// Owns nothing: the text is boot's copy. Not here: what the words mean. Context: ring 3, any time.

#include <string.h>

#include "../boot/boot.h"
#include "hal.h"

const char *hal_cmdline(void) { return boot_cmdline; }

int hal_cmdline_next(const char *key, size_t *pos, char *out, size_t size) {
    size_t key_len = strlen(key);
    while (boot_cmdline[*pos] != '\0') {
        const char *word = boot_cmdline + *pos + strspn(boot_cmdline + *pos, " ");
        size_t len = strcspn(word, " ");
        *pos = (size_t)(word - boot_cmdline) + len;
        if (len == 2 && memcmp(word, "--", 2) == 0) {
            *pos = strlen(boot_cmdline);
        } else if (len > key_len && memcmp(word, key, key_len) == 0 && word[key_len] == '=') {
            size_t value_len = len - key_len - 1;
            size_t n = value_len < size ? value_len : size - 1;
            memcpy(out, word + key_len + 1, n);
            out[n] = '\0';
            return (int)value_len;
        }
    }
    return -ENOENT;
}
