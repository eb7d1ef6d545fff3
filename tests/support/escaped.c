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

static struct sockaddr_in loopback(const char *port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return to;
}

static int message(int sock, const char *port, int flags) {
    struct sockaddr_in to = loopback(port);
    struct iovec data = {.iov_base = "x", .iov_len = 1};
    struct msghdr header = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &data, .msg_iovlen = 1};
    return error_of(sendmsg(sock, &header, flags));
}

static int messages(int sock, const char *port) {
    struct sockaddr_in to = loopback(port);
    struct iovec data = {.iov_base = "x", .iov_len = 1};
    struct mmsghdr one = {.msg_hdr = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &data, .msg_iovlen = 1}};
    return error_of(sendmmsg(sock, &one, 1, 0));
}

// A socket by another number, which a filter that judges numbers would have to see.
static int renumbered(int sock, const char *how) {
    if (strcmp(how, "dup") == 0) {
        return error_of(dup(sock));
    }
    if (strcmp(how, "dup2") == 0) {
        return error_of(dup2(sock, 9));
    }
    if (strcmp(how, "dup3") == 0) {
        return error_of(dup3(sock, 9, O_CLOEXEC));
    }
    if (strcmp(how, "dupfd") == 0) {
        return error_of(fcntl(sock, F_DUPFD, 5));
    }
    if (strcmp(how, "dupfd_cloexec") == 0) {
        return error_of(fcntl(sock, F_DUPFD_CLOEXEC, 5));
    }
    if (strcmp(how, "getfd") == 0) {
        return error_of(syscall(SYS_pidfd_getfd, (int)syscall(SYS_pidfd_open, getpid(), 0), sock, 0));
    }
    int ends[2];
    return error_of(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
}

static int tcp6(const char *port) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)atoi(port))};
    to.sin6_addr = in6addr_loopback;
    return error_of(connect(socket(AF_INET6, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)));
}

// An address of IPv4 in IPv6's clothes.
static int mapped(const char *port) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)atoi(port))};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &to.sin6_addr);
    return error_of(connect(socket(AF_INET6, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)));
}

// What reaches a port of this host by UDP, or without a connect().
static int sent(const char *verb, const char *what) {
    struct sockaddr_in to = loopback(what);
    int udp = socket(AF_INET, SOCK_DGRAM, 0), stream = socket(AF_INET, SOCK_STREAM, 0);
    if (strcmp(verb, "udp") == 0) {
        return error_of(sendto(udp, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
    }
    if (strcmp(verb, "udp_connect") == 0) {
        return error_of(connect(udp, (struct sockaddr *)&to, sizeof(to)));
    }
    if (strcmp(verb, "message") == 0) {
        return message(udp, what, 0);
    }
    if (strcmp(verb, "messages") == 0) {
        return messages(udp, what);
    }
    if (strcmp(verb, "fast") == 0) {
        return error_of(sendto(stream, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof(to)));
    }
    if (strcmp(verb, "fast_message") == 0) {
        return message(stream, what, MSG_FASTOPEN);
    }
    if (strcmp(verb, "renumber") == 0) {
        return renumbered(udp, what);
    }
    return 255;
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
    if (strcmp(verb, "connect6") == 0) {
        return tcp6(what);
    }
    if (strcmp(verb, "mapped") == 0) {
        return mapped(what);
    }
    if (strcmp(verb, "pipe") == 0) {
        struct sockaddr_in to = loopback("9");
        return error_of(connect(atoi(what), (struct sockaddr *)&to, sizeof(to)));
    }
    if (strcmp(verb, "raw") == 0) {
        return error_of(socket(AF_INET, SOCK_RAW, atoi(what)));
    }
    if (strcmp(verb, "ping") == 0) {
        return error_of(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
    }
    if (strcmp(verb, "family") == 0) {
        return error_of(socket(atoi(what), SOCK_DGRAM, 0));
    }
    if (strcmp(verb, "ring") == 0) {
        char parameters[120] = {0};
        return error_of(syscall(SYS_io_uring_setup, 1, parameters));
    }
    return sent(verb, what);
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
