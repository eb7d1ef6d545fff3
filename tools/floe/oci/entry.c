// SPDX-License-Identifier: MIT
// The first process of a container that `floe build --oci` made: it runs QEMU with the image, and is for the container's
// engine what the script would be. SIGTERM asks the script for its end; the exit code is the script's, as `floe run` has
// it. The guest's console is QEMU's standard output, which is ours; its 16550 is copied to standard error. By the name
// `healthy` it asks whether the guest serves.
//
// Beside it lie lists of words that tools/floe/oci/rootfs.py writes: `kvm` and `tcg`, QEMU's command with either
// accelerator; `stop`, what is typed to ask for the end; `secrets`, the names that the image needs; `ports`, TCP ports
// that are forwarded. Context: Linux, one thread, which waits in poll().

#define _GNU_SOURCE
#include "entry.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The guest's codes for machine.reset() and for the end of a deep sleep: vm/outcome.py.
enum { CODE_RESET = 122, CODE_SLEPT = 123 };
// linux/kvm.h: _IO(KVMIO, 0), _IO(KVMIO, 1); the version has been 12 since Linux 2.6.22.
enum { KVM_GET_API_VERSION = 0xae00, KVM_CREATE_VM = 0xae01, KVM_API_VERSION = 12 };
enum { GRACE_MS = 5000, KILL_MS = 2000, WRITE_MS = 1000, SERIAL_MAX = 1 << 20 };
enum { HIGH_FD = 64 }; // above those that QEMU's command names

// ENDED: QEMU was sent SIGTERM, KILLED: SIGKILL.
typedef enum { RUNNING, ASKED, ENDED, KILLED } stage_t;

typedef struct {
    pid_t qemu;
    int keys;    // what is typed to the guest
    int serial;  // what its 16550 says
    int monitor; // QMP
    stage_t stage;
    long long patient_until; // ms, where the stage is one of waiting
    bool is_over;
    int status;       // then, as wait(2) has it
    bool powered_off; // the guest said so itself
    bool stands;      // KVM met something that it cannot run
    size_t line_len;
    char line[4096]; // of QMP's, as far as it is there
} vm_t;

static int signals; // signalfd(2)
static sigset_t mask_before;

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// All of it, or as much as is taken in time: a log that nobody reads must not keep a signal waiting.
static void write_all(int fd, const char *p, size_t len) {
    long long until = now_ms() + WRITE_MS;
    while (len > 0 && now_ms() < until) {
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        ssize_t n = poll(&writable, 1, WRITE_MS) > 0 ? write(fd, p, len) : 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            return;
        }
        p += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
}

void entry_say(const char *text, const char *what) {
    char line[512];
    int len = snprintf(line, sizeof(line), "floe: %s%s\n", text, what);
    write_all(STDERR_FILENO, line, len < (int)sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

_Noreturn void entry_fail(int code, const char *text, const char *what) {
    entry_say(text, what);
    exit(code);
}

// Why KVM does not serve, "" where it does: qemu/accel.py looks at the same.
static const char *kvm_lacks(void) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        return errno == ENOENT ? "the container has no /dev/kvm" : "it may not open /dev/kvm";
    }
    int vm = ioctl(kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION ? ioctl(kvm, KVM_CREATE_VM, 0) : -1;
    const char *lacks = vm < 0 ? "/dev/kvm makes no VM" : "";
    close(vm);
    close(kvm);
    return lacks;
}

// The name of QEMU's command.
static const char *accelerator(void) {
    const char *wanted = getenv(ENTRY_ACCEL);
    wanted = wanted != NULL && *wanted != '\0' ? wanted : "auto";
    if (strcmp(wanted, "tcg") == 0) {
        return "tcg";
    }
    if (strcmp(wanted, "kvm") != 0 && strcmp(wanted, "auto") != 0) {
        entry_fail(EXIT_FLOE, ENTRY_ACCEL " is neither kvm nor tcg nor auto: ", wanted);
    }
    const char *lacks = kvm_lacks();
    if (*lacks == '\0') {
        return "kvm";
    }
    if (strcmp(wanted, "kvm") == 0) {
        entry_fail(EXIT_REFUSED, "KVM does not serve: ", lacks);
    }
    entry_say("emulated, more slowly than with KVM: ", lacks);
    return "tcg";
}

static void take_signals(void) {
    sigset_t taken;
    sigemptyset(&taken);
    for (const int *s = (const int[]){SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT, 0}; *s != 0; s++) {
        sigaddset(&taken, *s);
    }
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &taken, &mask_before);
    signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) {
        entry_fail(EXIT_FLOE, "no signals: ", strerror(errno));
    }
}

// In the child: the descriptors get the numbers by which the command names them.
static _Noreturn void become(char **argv, const int *theirs) {
    static const int at[] = {STDIN_FILENO, ENTRY_SERIAL, ENTRY_MONITOR, ENTRY_VARIABLES};
    int high[4];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    for (int i = 0; i < 4; i++) {
        high[i] = fcntl(theirs[i], F_DUPFD_CLOEXEC, HIGH_FD);
    }
    for (int i = 0; i < 4; i++) {
        if (high[i] < 0 || dup2(high[i], at[i]) < 0) {
            entry_fail(EXIT_REFUSED, "no descriptors: ", strerror(errno));
        }
    }
    execve(argv[0], argv, (char *[]){NULL}); // the container's variables are the guest's, none of them QEMU's
    entry_fail(EXIT_REFUSED, "QEMU does not start: ", strerror(errno));
}

static void start(vm_t *vm, char **argv) {
    static const char go[] = "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n";
    int keys[2], serial[2], monitor[2];
    if (pipe2(keys, O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, serial) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor) < 0) {
        entry_fail(EXIT_FLOE, "no descriptors: ", strerror(errno));
    }
    const int theirs[] = {keys[0], serial[1], monitor[1], words_variables()};
    memset(vm, 0, sizeof(*vm));
    vm->keys = keys[1];
    vm->serial = serial[0];
    vm->monitor = monitor[0];
    vm->qemu = fork();
    if (vm->qemu < 0) {
        entry_fail(EXIT_FLOE, "no process: ", strerror(errno));
    }
    if (vm->qemu == 0) {
        become(argv, theirs);
    }
    for (int i = 0; i < 4; i++) {
        close(theirs[i]);
    }
    write_all(vm->monitor, go, sizeof(go) - 1);
}

static void end(vm_t *vm, stage_t how) {
    vm->stage = how;
    vm->patient_until = now_ms() + KILL_MS;
    kill(vm->qemu, how == KILLED ? SIGKILL : SIGTERM);
}

// Once the script is asked; who asks again, or has waited, has it ended.
static void ask(vm_t *vm) {
    if (vm->stage == RUNNING) {
        for (char **word = words_read("stop"); *word != NULL; word++) {
            write_all(vm->keys, *word, strlen(*word));
        }
        vm->stage = ASKED;
        vm->patient_until = now_ms() + GRACE_MS;
    } else if (vm->stage == ASKED) {
        end(vm, ENDED);
    }
}

static void take_signal(vm_t *vm) {
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGCHLD) {
            ask(vm);
        }
    }
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) { // all that is orphaned is the first process's
        if (pid == vm->qemu) {
            vm->is_over = true;
            vm->status = status;
        }
    }
}

// A line of QMP's: what it says of the guest's end. Others say nothing that matters here.
static void take_event(vm_t *vm, const char *line) {
    if (strstr(line, "\"event\": \"STOP\"") != NULL && vm->stage < ENDED) { // we never send `stop`
        vm->stands = true;
        end(vm, ENDED);
    } else if (strstr(line, "\"event\": \"SHUTDOWN\"") != NULL) {
        vm->powered_off = strstr(line, "\"reason\": \"guest-shutdown\"") != NULL;
    }
}

// Both return whether there may be more.
static bool take_monitor(vm_t *vm) {
    size_t room = sizeof(vm->line) - 1 - vm->line_len;
    ssize_t n = recv(vm->monitor, vm->line + vm->line_len, room, MSG_DONTWAIT);
    if (n <= 0) {
        return false;
    }
    vm->line_len += (size_t)n;
    char *from = vm->line, *newline;
    while ((newline = memchr(from, '\n', vm->line_len)) != NULL) {
        *newline = '\0';
        take_event(vm, from);
        vm->line_len -= (size_t)(newline + 1 - from);
        from = newline + 1;
    }
    if (vm->line_len == sizeof(vm->line) - 1) {
        vm->line_len = 0; // longer than any event: none of those
    }
    memmove(vm->line, from, vm->line_len);
    return true;
}

static bool take_serial(vm_t *vm) {
    char text[4096];
    ssize_t n = recv(vm->serial, text, sizeof(text), MSG_DONTWAIT);
    if (n > 0) {
        write_all(STDERR_FILENO, text, (size_t)n);
    }
    return n > 0;
}

static void wait_for_end(vm_t *vm) {
    struct pollfd fds[] = {
        {.fd = signals, .events = POLLIN}, {.fd = vm->monitor, .events = POLLIN}, {.fd = vm->serial, .events = POLLIN}};
    while (!vm->is_over) {
        long long left = vm->stage == RUNNING ? -1 : vm->patient_until - now_ms();
        if (vm->stage != RUNNING && left <= 0) {
            end(vm, vm->stage == ASKED ? ENDED : KILLED);
            continue;
        }
        poll(fds, 3, (int)left);
        take_signal(vm);
        fds[1].fd = fds[1].revents == 0 || take_monitor(vm) ? fds[1].fd : -1; // it ends before the process does
        fds[2].fd = fds[2].revents == 0 || take_serial(vm) ? fds[2].fd : -1;
    }
    while (take_monitor(vm)) {
    }
    for (int most = SERIAL_MAX / 4096; most > 0 && take_serial(vm); most--) {
    }
    close(vm->keys);
    close(vm->monitor);
    close(vm->serial);
}

// The exit code. QEMU's is (code + 1) << 1 | 1 where the guest has one: isa-debug-exit.
static int verdict(const vm_t *vm) {
    char number[16];
    int status = WIFEXITED(vm->status) ? WEXITSTATUS(vm->status) : -1;
    snprintf(number, sizeof(number), "%d", WIFEXITED(vm->status) ? status : WTERMSIG(vm->status));
    if (status >= 3 && status % 2 != 0) {
        int code = (status >> 1) - 1;
        return code == CODE_RESET || code == CODE_SLEPT ? EXIT_INTERRUPTED : code;
    }
    if (vm->stands) {
        entry_say("KVM could not go on running the guest", "");
        return EXIT_REFUSED;
    }
    if (vm->stage >= ENDED) {
        return EXIT_INTERRUPTED;
    }
    if (status == 0 && vm->powered_off) {
        return 0;
    }
    if (status == 0) {
        entry_say("the guest crashed: its machine was reset without its asking (a triple fault, or an INIT)", "");
        return EXIT_PANIC;
    }
    entry_say(status < 0 ? "QEMU was ended by signal " : "QEMU failed with status ", number);
    return EXIT_REFUSED;
}

// What to tell a guest that is to be started again, or NULL.
static const char *again(const vm_t *vm) {
    if (vm->stage != RUNNING || !WIFEXITED(vm->status)) {
        return NULL;
    }
    int status = WEXITSTATUS(vm->status);
    return status == ((CODE_RESET + 1) << 1 | 1)   ? "floe.reset=hard"
           : status == ((CODE_SLEPT + 1) << 1 | 1) ? "floe.reset=deepsleep"
                                                   : NULL;
}

int main(int argc, char **argv) {
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    if (strcmp(slash != NULL ? slash + 1 : "", "healthy") == 0) {
        return healthy_main();
    }
    static vm_t vm;
    const char *kind = accelerator();
    take_signals();
    const char *told = NULL;
    do {
        start(&vm, words_command(kind, told, argv + (argc > 0)));
        wait_for_end(&vm);
    } while ((told = again(&vm)) != NULL);
    return verdict(&vm);
}
