// SPDX-License-Identifier: MIT
// A VM that begets VMs: fork(), its children and their ends, signals to others of the family, over the family's frames.
// Owns: who this VM is, its children. Not here: pipes (familypipe.h), Python's names (port/mod_vm.c). Context: main
// loop; where a verb waits it says for how long. -ENOSYS: this VM has no family; -EIO: its service has ended. A VM may
// be unserved: there is a line, at which nobody is but, at times, who wants a snapshot.

#ifndef FLOE_FAMILY_H
#define FLOE_FAMILY_H

#include <stdint.h>

#include "familypipe.h"

enum { FAMILY_SIGINT = 2, FAMILY_SIGKILL = 9, FAMILY_SIGTERM = 15 };

// Say hello to the host, once, and wait for its answer, some seconds at most. 0 or -errno; -ENOSYS if it is unserved.
int family_open(void);
// This VM's number in the family, and that of the one which begot it: 0 for the first.
int32_t family_pid(void);
int32_t family_ppid(void);
// Beget a copy of this VM. Its number here, 0 in the copy, which is another machine by then, or -errno. Nothing else of
// the VM runs meanwhile. `place`: where, "" for here. Waits 240 s at most.
int32_t family_fork(const char *place, uint32_t len);
// Say hello, and do not wait for the answer, only for the line itself: a second at most. `ask`, which may not wait, is
// called when the host wants a snapshot. True: family_snapshot() or family_refuse() is to follow; false: the host is
// told that it is not now. 0 or -errno.
int family_begin(bool (*ask)(void), bool is_unserved);
// Whether the host wants this VM for its state at a certain point alone. After family_open().
bool family_is_template(void);
// Let the host keep this VM's state. 0 in a copy, be it made much later, which is another machine, and the first of a
// family; else -errno, or 1: it is kept. Nothing else of the VM runs meanwhile. Waits 30 s at most, those in which the
// VM does not run apart. A copy that is to wait for somebody who wants it does so in here, as that other machine, its
// devices served; it ends where its host is gone.
int32_t family_snapshot(void);
// There will be no snapshot.
int family_refuse(int error);
// A child that has ended, which is forgotten: its number, and how as waitpid(2) says it. pid: that child, -1 any.
// 0: none has ended; -ECHILD: there is none.
int32_t family_ended(int32_t pid, int32_t *status);
// Whether family_ended() has something to say but that none has ended.
bool family_has_ended(int32_t pid);
// Send a signal; 0 asks whether there is such a VM. Waits for the answer, some seconds at most.
int family_kill(int32_t pid, int32_t signal);

#endif
