// SPDX-License-Identifier: MIT
// Sectors in, sectors out: the contract between a disk driver and what reads and writes disks. Neither knows
// the other. Nothing from here upward may know which hypervisor it runs on.
//
// A driver fills in blkdev_ops_t, calls blkdev_register(), and arms its interrupt in an event source of its own. Four
// verbs in fixed order: submit, kick, reap, abandon; submit and reap move the ownership of a request and its buffer
// and say so. Most callers want blkdev_transfer() and blkdev_flush(): bytes at any place, done when they return.
//
// Durability: a write that came back is in the device, not yet on the medium; a flush that came back says that
// every write which came back before the flush was submitted is on the medium. There is no other barrier:
// requests in flight together may be carried out in any order. What is read may come from a cache (blkcache.c), which
// nothing but this VM's own writes changes: a disk has one writer.
//
// Context: main loop only. No verb ever waits; blkdev_transfer() and blkdev_flush() do, with a deadline.
// Errors: -EAGAIN not now, nothing changed; -EIO this request failed, or the device is dead (it lied, vanished or
// did not answer), for good; -EROFS; -EINVAL past the end of the disk.

#ifndef FLOE_BLKDEV_H
#define FLOE_BLKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BLKDEV_MAX = 8, BLKDEV_SECTOR = 512, BLKDEV_SECTOR_MAX = 4096 };

typedef enum { BLKDEV_READ, BLKDEV_WRITE, BLKDEV_FLUSH, BLKDEV_DISCARD } blkdev_op_t;

typedef struct {
    uint8_t op;      // blkdev_op_t
    int status;      // set by reap: 0 or -errno
    uint64_t sector; // first one, in units of BLKDEV_SECTOR; sector and len are multiples of sector_size
    uint32_t len;    // bytes, at most max_bytes; 0 with BLKDEV_FLUSH
    void *base;      // a multiple of align; not read with BLKDEV_FLUSH and BLKDEV_DISCARD
} blkdev_req_t;

typedef struct blkdev blkdev_t;

typedef struct {
    // Queue a request. 0: it and its buffer are the device's until reap yields it. -EAGAIN: queue full. Only ring
    // memory is written: the device is told by kick.
    int (*submit)(blkdev_t *b, blkdev_req_t *r);
    // Tell the device about everything submitted since the last kick (at most one exit).
    void (*kick)(blkdev_t *b);
    // A request that is done, its status set; NULL when none. Order is the device's. After death nothing more
    // comes back: the device was reset and owns nothing.
    blkdev_req_t *(*reap)(blkdev_t *b);
    // Declare the device dead: one log line with `why`, and it is reset so that it stops touching our memory.
    void (*abandon)(blkdev_t *b, const char *why);
} blkdev_ops_t;

typedef struct {
    uint64_t reads, read_bytes, writes, written_bytes, flushes, errors;
} blkdev_stats_t;

struct blkdev {
    const blkdev_ops_t *ops;
    const char *driver;   // "virtio-blk", "xen-blkfront", "ram"
    uint64_t sectors;     // capacity in units of BLKDEV_SECTOR
    uint32_t sector_size; // the smallest unit, a power of two, BLKDEV_SECTOR to BLKDEV_SECTOR_MAX
    uint32_t max_bytes;   // of one request, a multiple of sector_size
    uint16_t align;       // of a buffer, a power of two
    uint16_t depth;       // requests the device can have at a time, at least 1
    bool readonly;        // writes are refused with -EROFS before a driver sees them
    bool volatile_cache;  // flush does something; without it every write that came back is on the medium
    bool can_discard;
    bool memory; // as fast as a copy: nothing is gained by keeping what was read
    bool dead;
    blkdev_stats_t stats;
    bool unflushed;           // blkdev.c's: something was written since the last flush
    struct blkdev_held *held; // blkorder.c's, NULL at registration
};

// The struct stays the driver's and lives as long as the VM. 0, or -ENOSPC past BLKDEV_MAX.
int blkdev_register(blkdev_t *b);
blkdev_t *blkdev_get(unsigned index); // in order of registration; NULL past the last

// Read or write `len` bytes at byte `at`, whole sectors or not (a partly written sector is read first). The buffer
// is the caller's again when it returns. 0 or -errno; after an error any part may have been done.
int blkdev_transfer(blkdev_t *b, blkdev_op_t op, uint64_t at, void *buf, size_t len);
// As blkdev_transfer() writes, for a caller that relies on the order of its writes (littlefs): what it writes last
// before a flush reaches the medium after all that it wrote before. May be held back until the next write or flush,
// which then reports its error.
int blkdev_write_ordered(blkdev_t *b, uint64_t at, const void *buf, size_t len);
// Everything that was written is on the medium. 0 or -errno; after -EIO nobody knows what is.
int blkdev_flush(blkdev_t *b);
// The content of these bytes is no longer needed; whole sectors inside are discarded where the device can.
int blkdev_discard(blkdev_t *b, uint64_t at, uint64_t len);

// The RAM disk of this VM: made by the first call, of `bytes` bytes; memory is taken when a page is first written,
// from the C heap, so that it outlives a soft reset. Later calls find it as it is. NULL: no memory.
blkdev_t *blkdev_ram(uint64_t bytes);

#endif
