// SPDX-License-Identifier: MIT
// Forced into every file of a node (-include): fake_hal.h's registers, and barriers at which the devices go on, as
// they do beside a real processor. What node.c and the programs share.

#ifndef FLOE_SIMHAL_H
#define FLOE_SIMHAL_H

#include "tests/c/support/fake_hal.h"
#include "tests/sim/sim.h"

void sim_point(void);
void sim_wrote(void);

#define hal_mb() sim_point()
#undef hal_mmio_write32
#define hal_mmio_write32(p, v) (fake_mmio_write((p), 4, (v)), sim_wrote())

extern const sim_host_t *sim_host;
extern const sim_start_t *sim_start;

_Noreturn void sim_broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint32_t sim_below(uint32_t n);
void sim_note(const char *what, uint64_t a, uint64_t b);
sim_phase_t sim_phase(void);
// Byte `at` of a stream, a value or a datagram that this number names. Here, as a run asks for millions.
static inline uint8_t sim_byte(uint64_t name, uint64_t at) {
    uint64_t x = (name ^ at >> 3) * 0x9e3779b97f4a7c15ull;
    x ^= x >> 29;
    return (uint8_t)((x * 0xbf58476d1ce4e5b9ull) >> (at % 8 * 8));
}
// All connections are closed, and a minute has gone by: nothing of them is left.
void sim_nothing_left(void);

void sim_device_start(void); // device.c: the cards of this node
bool sim_receive(const uint8_t *frame, uint32_t len);
void sim_work(unsigned device);
void sim_disk_done(unsigned slot);
void sim_raise(unsigned device); // node.c: its interrupt

// server.c, or python.c and what simbuild.py writes: which server it is, what it has on its command line.
extern const char sim_serves[], sim_words[];
void sim_server(void);
void sim_client(void);

// What goes over the server's ports: a byte back for each; requests and answers; a datagram back for each.
enum { SIM_ECHO_PORT = 7, SIM_STORE_PORT = 6379, SIM_DATAGRAM_PORT = 9, SIM_PAGES_PORT = 80 };
enum { SIM_FILE_NAME = 0xf11e00 }; // of images/web's files, and on
enum { SIM_KEYS = 16, SIM_VALUE_MAX = 700, SIM_DATAGRAM_MAX = 3000 };
enum { SIM_SET = 1, SIM_GET = 2 };
typedef struct {
    uint8_t op, key;
    uint16_t len; // of the value behind it: in a SET and in the answer to a GET
    uint32_t version;
} sim_message_t; // an answer has the version that the key now has

// store.c: values that outlive the power, in a file of littlefs on the disk.
void sim_store_open(void);
// After 0 it is on the medium. -errno: it is not known whether it is.
int sim_store_set(unsigned key, uint32_t version, const uint8_t *value, unsigned len);
unsigned sim_store_get(unsigned key, uint32_t *version, const uint8_t **value);

#endif
