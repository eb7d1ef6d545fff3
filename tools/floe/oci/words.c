// SPDX-License-Identifier: MIT
// What a container is given, as the guest takes it: variables as a blob of port/envfile.c's second form, arguments
// percent-encoded behind `--` on the guest's command line (spec/guestline.py does the same), each file of /run/secrets
// as a secret. Bytes that are no UTF-8 are refused: no string of the guest's holds them.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "entry.h"

#define SECRETS "/run/secrets"        // where engines put them
enum { WORDS_MAX = 64 << 10 };        // bytes of one file of words
enum { LINE_BYTES = 4095 - 64 * 10 }; // of the guest's command line: spec/guestline.py's _MAX_CMDLINE
enum { ENV_MAX = 64 << 10, SECRET_MAX = 1 << 20, SECRETS_MAX = 16, NAME_BYTES = 32 }; // spec/handover.py

extern char **environ;
// Of the container itself: what they say is about its file system and its terminal, which the guest does not have.
static const char *const own[] = {"PATH",  "HOME", "TERM",      "PWD",       "OLDPWD",
                                  "SHLVL", "_",    "container", ENTRY_ACCEL, NULL};

static void *room(size_t bytes) {
    void *p = calloc(1, bytes);
    if (p == NULL) {
        entry_fail(EXIT_FLOE, "no memory", "");
    }
    return p;
}

char **words_read(const char *name) {
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash = len > 0 ? memrchr(path, '/', (size_t)len) : NULL;
    if (slash == NULL || snprintf(slash + 1, (size_t)(path + sizeof(path) - slash - 1), "%s", name) >= PATH_MAX - len) {
        entry_fail(EXIT_FLOE, "no path to ", name);
    }
    char *text = room(WORDS_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, WORDS_MAX) : -1;
    if (size < 0 || size == WORDS_MAX || (size > 0 && text[size - 1] != '\0')) {
        entry_fail(EXIT_FLOE, "not as floe build has written it: ", path);
    }
    close(fd);
    size_t count = 0;
    for (ssize_t i = 0; i < size; i++) {
        count += text[i] == '\0';
    }
    char **words = room((count + 1) * sizeof(*words));
    for (size_t i = 0; i < count; i++) {
        words[i] = text;
        text += strlen(text) + 1;
    }
    return words;
}

// RFC 3629, section 4.
static bool is_utf8(const char *text) {
    const unsigned char *p = (const unsigned char *)text;
    while (*p != '\0') {
        int more = *p < 0x80 ? 0 : (*p & 0xe0) == 0xc0 ? 1 : (*p & 0xf0) == 0xe0 ? 2 : (*p & 0xf8) == 0xf0 ? 3 : -1;
        unsigned long code = more <= 0 ? *p : *p & (0x3f >> more);
        p++;
        for (int i = 0; i < more; i++, p++) {
            if ((*p & 0xc0) != 0x80) {
                return false;
            }
            code = code << 6 | (*p & 0x3f);
        }
        static const unsigned long least[] = {0, 0x80, 0x800, 0x10000};
        if (more < 0 || code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            return false;
        }
    }
    return true;
}

static bool is_own(const char *variable, size_t len) {
    for (const char *const *name = own; *name != NULL; name++) {
        if (strlen(*name) == len && memcmp(*name, variable, len) == 0) {
            return true;
        }
    }
    return false;
}

int words_variables(void) {
    int fd = memfd_create("variables", MFD_CLOEXEC);
    size_t total = 0;
    for (char **p = environ; *p != NULL; p++) {
        size_t len = strcspn(*p, "=");
        if ((*p)[len] == '\0' || len == 0 || is_own(*p, len)) {
            continue;
        }
        if (!is_utf8(*p)) {
            (*p)[len] = '\0';
            entry_fail(EXIT_FLOE, "not UTF-8: variable ", *p);
        }
        size_t size = strlen(*p) + 1;
        total += size;
        if (total > ENV_MAX) {
            entry_fail(EXIT_FLOE, "the container's variables take more than 64 KiB; a secret holds more", "");
        }
        if (write(fd, *p, size) != (ssize_t)size) {
            entry_fail(EXIT_FLOE, "no memory for variables: ", strerror(errno));
        }
    }
    return fd;
}

static bool is_name(const char *name) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(name);
    return len > 0 && len <= NAME_BYTES && strspn(name, plain) == len && strspn(name, "._-") == 0;
}

// QEMU's words for the secrets: two for each. Directories, and what is no name of a secret, are others' business.
static size_t add_secrets(char **words) {
    size_t count = 0;
    DIR *folder = opendir(SECRETS);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        struct stat st;
        if (!is_name(entry->d_name) || fstatat(dirfd(folder), entry->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode)) {
            continue;
        }
        if (st.st_size > SECRET_MAX || count == 2 * SECRETS_MAX) {
            entry_fail(EXIT_FLOE, "at most 16 secrets, each of at most 1 MiB: ", entry->d_name);
        }
        words[count++] = "-fw_cfg";
        if (asprintf(&words[count++], "name=opt/floe/secret/%s,file=" SECRETS "/%s", entry->d_name, entry->d_name) <
            0) {
            entry_fail(EXIT_FLOE, "no memory", "");
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    for (char **needed = words_read("secrets"); *needed != NULL; needed++) {
        char path[sizeof(SECRETS) + NAME_BYTES + 1];
        snprintf(path, sizeof(path), SECRETS "/%s", *needed);
        if (access(path, R_OK) < 0) {
            entry_fail(EXIT_FLOE, "the image needs the secret ", *needed);
        }
    }
    return count;
}

static char *encoded(char *to, const char *word) {
    static const char first[] = "virtio_mmio."; // or QEMU's own words would be among ours
    bool taken = strncmp(word, first, sizeof(first) - 1) == 0;
    for (const char *p = word; *p != '\0'; p++) {
        bool plain = *p > ' ' && *p < 0x7f && strchr("\"'%@", *p) == NULL && !(taken && p == word);
        to += plain ? sprintf(to, "%c", *p) : sprintf(to, "%%%02X", (unsigned char)*p);
    }
    return *word == '\0' ? stpcpy(to, "\"\"") : to;
}

// The guest's command line.
static char *line_of(const char *base, const char *more, char *const *args) {
    size_t size = strlen(base) + (more != NULL ? strlen(more) : 0) + 8;
    for (char *const *arg = args; *arg != NULL; arg++) {
        if (!is_utf8(*arg)) {
            entry_fail(EXIT_FLOE, "an argument is not UTF-8", "");
        }
        size += 3 * strlen(*arg) + 3;
    }
    char *line = room(size), *end = stpcpy(line, base);
    if (more != NULL) {
        end = stpcpy(stpcpy(end, " "), more);
    }
    end = *args != NULL ? stpcpy(end, " --") : end;
    for (char *const *arg = args; *arg != NULL; arg++) {
        end = encoded(stpcpy(end, " "), *arg);
    }
    if (end - line > LINE_BYTES) {
        entry_fail(EXIT_FLOE, "the arguments are too long: there is room for some 3400 bytes", "");
    }
    return line;
}

char **words_command(const char *name, const char *more, char *const *args) {
    char **words = words_read(name);
    size_t count = 0;
    while (words[count] != NULL) {
        count++;
    }
    if (count < 3) {
        entry_fail(EXIT_FLOE, "no command: ", name);
    }
    char **argv = room((count + 2 * SECRETS_MAX + 1) * sizeof(*argv));
    memcpy(argv, words, (count - 2) * sizeof(*argv));
    size_t at = count - 2 + add_secrets(argv + count - 2);
    argv[at] = words[count - 2]; // -append
    argv[at + 1] = line_of(words[count - 1], more, args);
    return argv;
}
