// SPDX-License-Identifier: MIT
// RESP, the protocol of Redis ("Redis serialization protocol", versions 2 and 3): commands in a buffer, as arrays of
// bulk strings, and the heads of answers. Memory only: owns nothing, allocates nothing.

#ifndef FLOE_RESP_H
#define FLOE_RESP_H

#include <stddef.h>
#include <stdint.h>

enum {
    RESP_COUNT_MAX = 1 << 20, // arguments of a command
    RESP_HEAD_MAX = 24,       // bytes of a head: its letter, a number of 64 bits, CR LF
};
#define RESP_BULK_MAX ((size_t)512 << 20) // bytes of an argument

// Where the command at `at` ends, and how many arguments it has. 0: it is not whole, empty, or not of this form, and
// a slower reader has to say what is wrong with it, if anything is.
size_t resp_command(const uint8_t *data, size_t size, size_t at, size_t *count);

// Where the first byte is of the argument whose head is at `at`, and how many bytes it has. 0: as of resp_command().
size_t resp_whole(const uint8_t *data, size_t size, size_t at, size_t *len);

// The next argument of a command that resp_command() has measured: *at goes from its head to its first byte. Returns
// its size; the next head is two bytes behind its end.
size_t resp_argument(const uint8_t *data, size_t *at);

// Write a letter, a number and CR LF. Returns how many bytes, RESP_HEAD_MAX at most.
size_t resp_head(char *to, char letter, int64_t number);

#endif
