// SPDX-License-Identifier: MIT
// Block device, virtio 1.2 clause 5.2: the verbs of blkdev.h over one queue. No copy: the device reads and writes
// the caller's buffer. Owns: a header and a status byte for each request in flight. Not here: rings (virtqueue.h),
// waiting (blkdev.c), multiqueue and cache mode changes (not negotiated). Context: main loop only; no verb waits.
// The device lied: one log line, blkdev.dead, and it is reset: nothing in flight comes back.

#include "blkdev.h"
#include "virtio.h"

enum { // 5.2.3
    F_SIZE_MAX_BIT = 1,
    F_RO_BIT = 5,
    F_BLK_SIZE_BIT = 6,
    F_FLUSH_BIT = 9,
    F_DISCARD_BIT = 13,
};
#define WANTED \
    (BIT64(F_SIZE_MAX_BIT) | BIT64(F_RO_BIT) | BIT64(F_BLK_SIZE_BIT) | BIT64(F_FLUSH_BIT) | BIT64(F_DISCARD_BIT) | \
     BIT64(VIRTIO_F_EVENT_IDX_BIT))

enum { CONFIG_CAPACITY = 0, CONFIG_SIZE_MAX = 8, CONFIG_BLK_SIZE = 20, CONFIG_MAX_DISCARD = 36 }; // 5.2.4
enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_DISCARD = 11 };                            // 5.2.6
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2, STATUS_UNSET = 0xff };
enum { QUEUE = 0, QUEUE_SIZE = 64, SLOTS = 16, MAX_BYTES = 256 << 10 };
#define CAPACITY_MAX (1ull << 54) // sectors; bytes then fit in 63 bits

typedef struct { // 5.2.6
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
} vblk_hdr_t;
_Static_assert(sizeof(vblk_hdr_t) == 16, "virtio_blk_req");

typedef struct { // 5.2.6, virtio_blk_discard_write_zeroes
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
} vblk_range_t;
_Static_assert(sizeof(vblk_range_t) == 16, "virtio_blk_discard_write_zeroes");

typedef struct vblk_slot {
    vblk_hdr_t hdr; // read by the device
    vblk_range_t range;
    uint8_t status; // written by the device
    blkdev_req_t *req;
    struct vblk_slot *next_free;
} vblk_slot_t;

typedef struct {
    blkdev_t dev; // first: the verbs get its address
    virtio_dev_t *v;
    virtq_t q;
    vblk_slot_t *free;
    hal_event_source_t source;
} vblk_t;

static vblk_t *vblk_of(blkdev_t *b) { return (vblk_t *)b; }

static void vblk_abandon(blkdev_t *b, const char *why) {
    b->dead = true;
    virtio_fail(vblk_of(b)->v, why, -EIO);
}

static int vblk_submit(blkdev_t *b, blkdev_req_t *r) {
    static const uint32_t type[] = {TYPE_IN, TYPE_OUT, TYPE_FLUSH, TYPE_DISCARD};
    vblk_t *n = vblk_of(b);
    vblk_slot_t *s = n->free;
    hal_assert(r->op < HAL_ARRAY_LEN(type) && r->len <= b->max_bytes);
    if (b->dead) {
        return -EIO;
    }
    if (s == NULL) {
        return -EAGAIN;
    }
    s->hdr = (vblk_hdr_t){.type = type[r->op], .sector = r->op == BLKDEV_DISCARD ? 0 : r->sector};
    s->status = STATUS_UNSET;
    virtq_buf_t buf[3];
    unsigned out = 0, in = 0;
    buf[out++] = (virtq_buf_t){&s->hdr, sizeof(s->hdr)};
    if (r->op == BLKDEV_WRITE) {
        buf[out++] = (virtq_buf_t){r->base, r->len};
    } else if (r->op == BLKDEV_DISCARD) {
        s->range = (vblk_range_t){.sector = r->sector, .sectors = r->len / BLKDEV_SECTOR};
        buf[out++] = (virtq_buf_t){&s->range, sizeof(s->range)};
    } else if (r->op == BLKDEV_READ) {
        buf[out + in++] = (virtq_buf_t){r->base, r->len};
    }
    buf[out + in++] = (virtq_buf_t){&s->status, sizeof(s->status)};
    int e = virtq_provide(&n->q, buf, out, in, s);
    if (e == 0) {
        n->free = s->next_free;
        s->req = r;
    }
    return e;
}

static void vblk_kick(blkdev_t *b) { virtio_kick(vblk_of(b)->v, &vblk_of(b)->q); }

// What the device's status and length come to. 0, -EIO or -ENOTSUP; 1: no honest device says that.
static int judge(const blkdev_req_t *r, uint8_t status, uint32_t written) {
    switch (status) {
        case STATUS_OK: // a read wrote its bytes, and in all cases the status
            return written < 1 || (r->op == BLKDEV_READ && written < r->len) ? 1 : 0;
        case STATUS_IOERR:
            return -EIO;
        case STATUS_UNSUPP:
            return -ENOTSUP;
        default:
            return 1;
    }
}

static blkdev_req_t *vblk_reap(blkdev_t *b) {
    vblk_t *n = vblk_of(b);
    void *taken;
    uint32_t written;
    if (b->dead) {
        return NULL;
    }
    int r = virtq_take(&n->q, &taken, &written);
    if (r < 0) {
        if (r == -EIO) {
            vblk_abandon(b, n->q.why);
        }
        return NULL;
    }
    vblk_slot_t *s = taken;
    blkdev_req_t *req = s->req;
    int status = judge(req, *(volatile uint8_t *)&s->status, written);
    if (status > 0) {
        vblk_abandon(b, "request ended without a status");
        return NULL;
    }
    s->next_free = n->free;
    n->free = s;
    req->status = status;
    return req;
}

static const blkdev_ops_t vblk_ops = {
    .submit = vblk_submit,
    .kick = vblk_kick,
    .reap = vblk_reap,
    .abandon = vblk_abandon,
};

// Who waits for a request reaps it himself; the source only arms the interrupt that ends his sleep.
static bool source_run(void *arg) {
    (void)arg;
    return false;
}

static bool source_arm(void *arg) {
    vblk_t *n = arg;
    if (n->dev.dead || virtio_irq_service(n->v) < 0) {
        bool died = !n->dev.dead;
        n->dev.dead = true;
        return died;
    }
    return n->q.outstanding > 0 && virtq_arm(&n->q, 1);
}

static int negotiate(vblk_t *n) {
    uint64_t offered = 0;
    int r = virtio_reset(n->v, &offered);
    if (r < 0) {
        return r;
    }
    n->dev.readonly = (offered & BIT64(F_RO_BIT)) != 0;
    n->dev.volatile_cache = (offered & BIT64(F_FLUSH_BIT)) != 0; // 5.2.6.2: without it the device writes through
    n->dev.can_discard = (offered & BIT64(F_DISCARD_BIT)) != 0;
    return virtio_negotiate(n->v, offered & WANTED);
}

// Capacity and limits from the configuration space.
static int identify(vblk_t *n) {
    uint32_t size_max = MAX_BYTES, blk_size = BLKDEV_SECTOR, discard_max = UINT32_MAX;
    virtio_field_t field[4] = {{CONFIG_CAPACITY, 4, 2, &n->dev.sectors}};
    unsigned count = 1;
    if ((n->v->features & BIT64(F_SIZE_MAX_BIT)) != 0) {
        field[count++] = (virtio_field_t){CONFIG_SIZE_MAX, 4, 1, &size_max};
    }
    if ((n->v->features & BIT64(F_BLK_SIZE_BIT)) != 0) {
        field[count++] = (virtio_field_t){CONFIG_BLK_SIZE, 4, 1, &blk_size};
    }
    if (n->dev.can_discard) {
        field[count++] = (virtio_field_t){CONFIG_MAX_DISCARD, 4, 1, &discard_max};
    }
    int r = virtio_config_read(n->v, field, count);
    if (r < 0) {
        return r;
    }
    if (blk_size < BLKDEV_SECTOR || blk_size > BLKDEV_SECTOR_MAX || (blk_size & (blk_size - 1)) != 0) {
        return virtio_fail(n->v, "sector size is not 512 to 4096", -EINVAL);
    }
    if (size_max < blk_size) {
        return virtio_fail(n->v, "requests smaller than a sector", -EINVAL);
    }
    if (n->dev.sectors > CAPACITY_MAX) {
        return virtio_fail(n->v, "impossible capacity", -EINVAL);
    }
    n->dev.sectors &= ~(uint64_t)(blk_size / BLKDEV_SECTOR - 1);
    n->dev.sector_size = blk_size;
    n->dev.max_bytes = (size_max < MAX_BYTES ? size_max : MAX_BYTES) & ~(blk_size - 1);
    n->dev.can_discard = n->dev.can_discard && discard_max >= n->dev.max_bytes / BLKDEV_SECTOR;
    return 0;
}

static int equip(vblk_t *n) {
    int r = virtio_queue_open(n->v, QUEUE, QUEUE_SIZE, &n->q);
    if (r < 0) {
        return r;
    }
    if (n->q.size < 4) {
        return virtio_fail(n->v, "queue too short for a request", -EINVAL);
    }
    n->dev.depth = n->q.size / 3 < SLOTS ? n->q.size / 3 : SLOTS;
    vblk_slot_t *slots = hal_mem_dma(SLOTS * sizeof(vblk_slot_t), _Alignof(vblk_slot_t));
    if (slots == NULL) {
        return virtio_fail(n->v, "no memory for requests", -ENOMEM);
    }
    for (unsigned i = 0; i < n->dev.depth; i++) {
        slots[i].next_free = n->free;
        n->free = &slots[i];
    }
    return 0;
}

static int vblk_open(virtio_dev_t *v) {
    vblk_t *n = hal_mem_dma(sizeof(vblk_t), _Alignof(vblk_t));
    if (n == NULL) {
        return -ENOMEM;
    }
    n->v = v;
    n->dev.ops = &vblk_ops;
    n->dev.driver = "virtio-blk";
    n->dev.align = 1;
    int r = negotiate(n);
    if (r < 0 || (r = identify(n)) < 0 || (r = equip(n)) < 0) {
        return r;
    }
    virtio_start(v);
    n->source = (hal_event_source_t){.run = source_run, .arm = source_arm, .arg = n};
    hal_event_add(&n->source);
    r = blkdev_register(&n->dev);
    return r < 0 ? virtio_fail(v, "too many disks", r) : 0;
}

static int vblk_probe(void) {
    int up = 0, err = 0;
    for (virtio_dev_t *v = NULL; (v = virtio_next(VIRTIO_ID_BLOCK, v)) != NULL;) {
        int r = vblk_open(v);
        up += r == 0;
        err = err == 0 ? r : err;
    }
    return err < 0 ? err : up;
}

const hal_driver_t virtio_blk_driver = {"virtio-blk", vblk_probe};
