// SPDX-License-Identifier: MIT
// A guest that got out: a program in QEMU's place, with all that QEMU has, tries what $ESCAPED asks for, and says on
// one line what came of each: "ESCAPED|WORD=ERRNO|...", 0 where it could. A word is VERB:ARGUMENT; the words that are
// asked for have a | between them.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int error_of(long result) { return result < 0 ? errno : 0; }

static int opened(const char *path, int flags) { return error_of(open(path, flags | O_CLOEXEC, 0600)); }

static int tcp(const char *port, int (*call)(int, const struct sockaddr *, socklen_t)) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return error_of(call(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)));
}

static int abstract(const char *name) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(to.sun_path + 1, name, length);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    return error_of(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&to, size));
}

// Its error comes through a pipe that a program which was started has closed.
static int executed(const char *path) {
    int ends[2], error = 0;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return errno;
    }
    pid_t child = fork();
    if (child == 0) {
        execl(path, path, (char *)NULL);
        error = errno;
        _exit(write(ends[1], &error, sizeof(error)) < 0);
    }
    close(ends[1]);
    int got = (int)read(ends[0], &error, sizeof(error));
    waitpid(child, NULL, 0);
    return got == sizeof(error) ? error : 0;
}

static int capability(int number) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) {
        return errno;
    }
    return data[number / 32].permitted >> number % 32 & 1 ? 0 : EPERM;
}

static int tried(const char *verb, const char *what) {
    if (strcmp(verb, "read") == 0) {
        return opened(what, O_RDONLY);
    }
    if (strcmp(verb, "list") == 0) {
        return opened(what, O_RDONLY | O_DIRECTORY);
    }
    if (strcmp(verb, "write") == 0) {
        return opened(what, O_WRONLY);
    }
    if (strcmp(verb, "create") == 0) {
        return opened(what, O_WRONLY | O_CREAT);
    }
    if (strcmp(verb, "truncate") == 0) {
        return error_of(truncate(what, 0));
    }
    if (strcmp(verb, "remove") == 0) {
        return error_of(unlink(what));
    }
    if (strcmp(verb, "folder") == 0) {
        return error_of(mkdir(what, 0700));
    }
    if (strcmp(verb, "listen") == 0) {
        return tcp(what, bind);
    }
    if (strcmp(verb, "connect") == 0) {
        return tcp(what, connect);
    }
    if (strcmp(verb, "abstract") == 0) {
        return abstract(what);
    }
    if (strcmp(verb, "start") == 0) {
        return executed(what);
    }
    if (strcmp(verb, "signal") == 0) {
        return error_of(kill(atoi(what), 0));
    }
    if (strcmp(verb, "trace") == 0) {
        return error_of(ptrace(PTRACE_SEIZE, atoi(what), NULL, NULL));
    }
    if (strcmp(verb, "mount") == 0) {
        return error_of(mount("none", what, "tmpfs", 0, NULL));
    }
    if (strcmp(verb, "capability") == 0) {
        return capability(atoi(what));
    }
    return 255;
}

int main(void) {
    const char *asked = getenv("ESCAPED");
    char *words = strdup(asked != NULL ? asked : ""), *rest = NULL;
    printf("ESCAPED");
    for (char *word = strtok_r(words, "|", &rest); word != NULL; word = strtok_r(NULL, "|", &rest)) {
        char *what = strchr(word, ':');
        if (what == NULL) {
            continue;
        }
        *what++ = '\0';
        printf("|%s:%s=%d", word, what, tried(word, what));
    }
    printf("\n");
    fflush(stdout);
    return 1;
}
