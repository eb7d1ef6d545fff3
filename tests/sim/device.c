// SPDX-License-Identifier: MIT
// A node's network card and disk: virtio 1.2, clauses 5.1 and 5.2, over the registers and rings of fake_device.c. They
// interrupt only when the driver has asked for it, and look at a queue only when they were notified: a wish that is
// said too late is never heard. Owns what the disk works on. Not here: wire and medium, which are the world's.

#include <string.h>

#include "lwip/def.h"
#include "netsum.h"
#include "tests/c/support/fake_device.h"

enum { TYPE_NET = 1, TYPE_DISK = 2, EVENT_IDX_BIT = 29 };
enum { HDR = 12, NEEDS_CSUM = 1, GSO_TCP4 = 1, GSO_TCP6 = 4 };
enum { RX = 0, TX = 1, DISK_SLOTS = 64 };
enum { ETH = 14, IP4 = 20, IP6 = 40 };

static fake_device_t *card, *disk;
static uint8_t out[SIM_FRAME_MAX], piece[SIM_FRAME_MAX];
static struct {
    bool used;
    uint16_t head;
    uint32_t written;
    uint8_t *status;
} slots[DISK_SLOTS];

static bool has(const fake_device_t *d, unsigned bit) { return (d->driver_features >> bit & 1) != 0; }

static void complete(fake_device_t *d, fake_queue_t *q, uint32_t id, uint32_t len) {
    uint16_t before = q->used_idx;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    fake_used(q, id, len);
    if (fake_wants_irq(q, has(d, EVENT_IDX_BIT), before)) {
        d->irq_status |= 1;
        sim_raise(d == card ? SIM_NET : SIM_DISK);
    }
}

void sim_device_start(void) {
    card = fake_mmio_new(0xfeb00000, TYPE_NET);
    card->features |= sim_start->net_features | (uint64_t)sim_start->event_idx << EVENT_IDX_BIT;
    card->queue[RX].max = card->queue[TX].max = sim_start->queue_max;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)sim_start->index};
    memcpy(card->config, mac, sizeof mac);
    card->config[6] = 1; // the link is up
    disk = fake_mmio_new(0xfeb00200, TYPE_DISK);
    disk->features |= sim_start->disk_features | (uint64_t)sim_start->event_idx << EVENT_IDX_BIT;
    uint64_t sectors = SIM_DISK_BYTES / SIM_SECTOR;
    memcpy(disk->config, &sectors, sizeof sectors);
}

// A register was written: it may have been a notification.
void sim_wrote(void) {
    fake_device_t *each[] = {card, disk};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t notified = each[i]->queue[RX].notified + each[i]->queue[TX].notified;
        each[i]->queue[RX].notified = each[i]->queue[TX].notified = 0;
        if (notified > 0) {
            sim_host->notify(sim_host->ctx, i == 0 ? SIM_NET : SIM_DISK);
        }
    }
}

static bool live(const fake_device_t *d, const fake_queue_t *q) {
    return d != NULL && q->ready != 0 && (d->status & 4) != 0;
}

// The next chain; before it says there is none, the device asks for a notification and looks again.
static bool next(const fake_device_t *d, fake_queue_t *q, fake_chain_t *c) {
    if (fake_next_chain(q, c)) {
        return true;
    }
    if (!has(d, EVENT_IDX_BIT)) {
        return false;
    }
    fake_avail_event(q, q->avail_seen);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return fake_next_chain(q, c);
}

// ---- the card -----------------------------------------------------------------------------------

bool sim_receive(const uint8_t *frame, uint32_t len) {
    static uint8_t with_header[HDR + SIM_FRAME_MAX];
    fake_chain_t c;
    if (!live(card, &card->queue[RX]) || !next(card, &card->queue[RX], &c)) {
        return false;
    }
    memset(with_header, 0, HDR);
    with_header[10] = 1; // in one buffer
    memcpy(with_header + HDR, frame, len);
    hal_assert(fake_chain_writable(&c) >= HDR + len);
    fake_chain_write(&c, with_header, HDR + len);
    complete(card, &card->queue[RX], c.head, HDR + len);
    return true;
}

static uint16_t read16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

static void put_be16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static uint32_t get_be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }

// RFC 1071, word by word: written anew, as netsum.c is what it is to find wrong.
static uint32_t sum(const uint8_t *p, size_t len, uint32_t s) {
    for (size_t i = 0; i + 1 < len; i += 2) {
        s += (uint32_t)(p[i] << 8 | p[i + 1]);
    }
    s += len % 2 != 0 ? (uint32_t)p[len - 1] << 8 : 0;
    while (s > 0xffff) {
        s = (s & 0xffff) + (s >> 16);
    }
    return s;
}

static void finish_sum(uint8_t *frame, uint32_t len, unsigned start, unsigned offset) {
    hal_assert(start + offset + 2 <= len);
    uint32_t s = ~sum(frame + start, len - start, 0) & 0xffff;
    put_be16(frame + start + offset, s == 0 ? 0xffff : s);
}

// Cut a segment of TCP, as 5.1.6.2 has it: headers again for each piece, with lengths, numbers and flags of its own.
static void cut(const uint8_t *hdr, uint32_t len) {
    unsigned size = read16(hdr + 4), start = read16(hdr + 6), offset = read16(hdr + 8);
    unsigned headers = start + (out[start + 12] >> 4) * 4u;
    bool four = (hdr[1] & 0x7f) == GSO_TCP4;
    hal_assert(size > 0 && headers < len && headers == read16(hdr + 2));
    uint32_t total = len - start, payload = len - headers;
    uint32_t pseudo = get_be16(out + start + offset);
    for (uint32_t at = 0; at < payload; at += size) {
        uint32_t n = payload - at < size ? payload - at : size, seq;
        memcpy(piece, out, headers);
        memcpy(piece + headers, out + headers + at, n);
        memcpy(&seq, out + start + 4, 4);
        seq = lwip_htonl(lwip_ntohl(seq) + at);
        memcpy(piece + start + 4, &seq, 4);
        if (at + n < payload) {
            piece[start + 13] &= (uint8_t)~0x09; // FIN and PSH are the last one's
        }
        uint32_t tcp = headers - start + n;
        put_be16(piece + start + offset, sum(NULL, 0, pseudo + (~total & 0xffff) + tcp)); // the length is in the sum
        if (four) {
            put_be16(piece + ETH + 2, IP4 + tcp);
            put_be16(piece + ETH + 4, get_be16(out + ETH + 4) + at / size);
            put_be16(piece + ETH + 10, 0);
            put_be16(piece + ETH + 10, ~sum(piece + ETH, IP4, 0) & 0xffff);
        } else {
            put_be16(piece + ETH + 4, tcp);
        }
        finish_sum(piece, headers + n, start, offset);
        sim_host->send(sim_host->ctx, piece, headers + n);
    }
}

static void transmit(void) {
    fake_queue_t *q = &card->queue[TX];
    fake_chain_t c;
    while (live(card, q) && next(card, q, &c)) {
        uint8_t hdr[HDR];
        uint32_t got = 0, len = 0; // bytes of the header, of the frame
        for (unsigned i = 0; i < c.count; i++) {
            uint32_t n = HDR - got < c.seg[i].len ? HDR - got : c.seg[i].len, rest = c.seg[i].len - n;
            hal_assert(rest <= sizeof out - len);
            memcpy(hdr + got, c.seg[i].base, n);
            memcpy(out + len, c.seg[i].base + n, rest);
            got += n;
            len += rest;
        }
        hal_assert(got == HDR && len > ETH && (hdr[0] & ~NEEDS_CSUM) == 0);
        if (hdr[1] != 0) {
            cut(hdr, len);
        } else {
            if (hdr[0] & NEEDS_CSUM) {
                finish_sum(out, len, read16(hdr + 6), read16(hdr + 8));
            }
            sim_host->send(sim_host->ctx, out, len);
        }
        complete(card, q, c.head, 0);
    }
}

// ---- the disk -----------------------------------------------------------------------------------

static void disk_work(void) {
    static const uint32_t types[] = {[SIM_READ] = 0, [SIM_WRITE] = 1, [SIM_FLUSH] = 4};
    fake_chain_t c;
    while (live(disk, &disk->queue[0]) && next(disk, &disk->queue[0], &c)) {
        uint32_t type, op = 0, len = c.count == 3 ? c.seg[1].len : 0;
        uint64_t sector;
        hal_assert(c.count >= 2 && c.seg[0].len == 16 && c.seg[c.count - 1].len == 1 && c.seg[c.count - 1].writable);
        memcpy(&type, c.seg[0].base, 4);
        memcpy(&sector, c.seg[0].base + 8, 8);
        while (op < 3 && types[op] != type) {
            op++;
        }
        hal_assert(op < 3 && (op == SIM_FLUSH) == (len == 0) && len % SIM_SECTOR == 0);
        hal_assert(sector * SIM_SECTOR + len <= SIM_DISK_BYTES && (len == 0 || c.seg[1].writable == (op == SIM_READ)));
        unsigned slot = 0;
        while (slots[slot].used) {
            slot++;
            hal_assert(slot < DISK_SLOTS);
        }
        slots[slot].used = true;
        slots[slot].head = (uint16_t)c.head;
        slots[slot].written = op == SIM_READ ? len + 1 : 1;
        slots[slot].status = c.seg[c.count - 1].base;
        sim_host->disk(sim_host->ctx, slot, op, sector * SIM_SECTOR, len > 0 ? c.seg[1].base : NULL, len);
    }
}

void sim_disk_done(unsigned slot) {
    slots[slot].used = false;
    *slots[slot].status = 0;
    complete(disk, &disk->queue[0], slots[slot].head, slots[slot].written);
}

void sim_work(unsigned device) { device == SIM_NET ? transmit() : disk_work(); }
