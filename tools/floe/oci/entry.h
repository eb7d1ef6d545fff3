// SPDX-License-Identifier: MIT
// The parts of a container's first process. What fails here ends the process: entry_fail() says why.
#ifndef ENTRY_H
#define ENTRY_H

#include <stddef.h>

#define ENTRY_ACCEL "FLOE_ACCEL" // a variable of the container's: kvm, tcg, or what serves
// docs/exit-codes.md
enum { EXIT_PANIC = 120, EXIT_FLOE = 125, EXIT_REFUSED = 126, EXIT_INTERRUPTED = 130 };
// QEMU's descriptors from 3 on, by which its command names them (rootfs.py): 16550, QMP, the variables.
enum { ENTRY_SERIAL = 3, ENTRY_MONITOR, ENTRY_VARIABLES };

void entry_say(const char *text, const char *what);
_Noreturn void entry_fail(int code, const char *text, const char *what);

// Words of a file beside this program, NULL behind the last; they stay as long as the process.
char **words_read(const char *name);
// The container's environment as a guest reads it (port/envfile.c): a descriptor of a file in memory.
int words_variables(void);
// QEMU's command of that name, with the secrets that the container has and this program's arguments. more: a further
// word for the guest, NULL for none.
char **words_command(const char *name, const char *more, char *const *args);

// Whether each forwarded port is served: 0, or 1 and a sentence.
int healthy_main(void);

#endif
