// SPDX-License-Identifier: MIT
// Pipes between the VMs of a family, after pipe(7): what was written lies at the host, in up to 64 KiB a pipe. Owns:
// which ends this VM holds, and bytes that came and were not read. Not here: waiting. Context: main loop.
//
// Descriptors are even for a reading end, odd for a writing one. Verbs return -EBADF for one that is not open or is the
// other end, -EAGAIN for "not now", -EIO once the service has ended.

#ifndef FLOE_FAMILYPIPE_H
#define FLOE_FAMILYPIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "familylink.h"

enum { FAMILY_FD_FIRST = 100, FAMILY_ATOMIC = 4096 }; // so much is written in one piece, or not at all
enum { FAMILY_IN = 1, FAMILY_OUT = 4, FAMILY_HUP = 16 };

// A new pipe of the VM `pid`: the two descriptors.
int family_pipe_open(uint32_t pid, int fds[2]);
// Bytes read; 0: the end. -EAGAIN: up to size bytes, or `ahead` where that is more, were asked for and come later.
ssize_t family_pipe_read(int fd, void *out, size_t size, size_t ahead);
// The same of what has come already; -EAGAIN: nothing, and nothing was asked for.
ssize_t family_pipe_take(int fd, void *out, size_t size);
// The same without a copy: what has come stays until it is skipped, and so does the end. It is for one who is told so.
ssize_t family_pipe_peek(int fd, const uint8_t **data, size_t ahead);
void family_pipe_skip(int fd, size_t n);
// Ask the host what lies in the pipe. With give_up no byte comes any more, from its answer on, for a read that said
// -EAGAIN; those that came meanwhile are here. -EAGAIN: an answer is still to come.
int family_pipe_ask(int fd, bool give_up);
// What the host answered to family_pipe_ask(): bytes that lie there or here, 0 for none, -EPIPE for the end. -EAGAIN:
// it has yet to answer.
ssize_t family_pipe_lies(int fd);
// Bytes written, which may be fewer than len. -EPIPE: nobody has the reading end.
ssize_t family_pipe_write(int fd, const void *data, size_t len);
// How many bytes a write would take. -EPIPE: nobody has the reading end.
ssize_t family_pipe_room(int fd);
int family_pipe_close(int fd);
// From now on no copy of this VM has this pipe.
void family_pipe_keep(int fd);
// Nobody has this end any more: the next sweep closes it. Sends nothing, and may be called for one that is not open.
void family_pipe_abandon(int fd);
// True: something was closed, and events were run meanwhile.
bool family_pipe_sweep(void);
// The same for one end, where there may be one: a frame at most.
bool family_pipe_sweep_one(void);
bool family_pipe_abandoned(void);
// What can be done at once, of FAMILY_*. What cannot is told as soon as it can, by an event. -EBADF, -EIO.
int family_pipe_ready(int fd);
// Whether reads and writes may wait; the verbs here never do.
int family_pipe_blocks(int fd);
int family_pipe_set_blocks(int fd, bool blocks);

// How many frames of pipes have come: what can be done at once is another thing when it has changed.
uint32_t family_pipe_frames(void);
// A frame whose channel is a pipe came. False: it cannot be.
bool family_pipe_frame(const family_frame_t *f);
// This VM is a copy now: what its parent asked for is asked for again, what that has read ahead is the parent's,
// unless this one keeps it.
void family_pipe_copied(bool keeps);

#endif
