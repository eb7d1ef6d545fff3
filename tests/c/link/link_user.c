// SPDX-License-Identifier: MIT
// modules/link over two cards, 10.1.0.1/24 and 10.2.0.1/24, whose frames come from commands:
//   listen CARD KINDS, router CARD ON: 0 or -errno    forwarder: somebody sends frames on, behind whoever listens
//   frame CARD HEX [HEX...], a piece each: "passed", "dropped" or "kept"    take CARD SIZE: a frame, or -errno
//   waiting CARD    lost CARD    send CARD HEX: what went out, and 0 or -errno    full: no queue has room from now on
//   output CARD HEX: what lwIP sends, as it went out    fuzz SEED COUNT: made up frames, each piece a heap block
// Context: a process on the host, under sanitizers.

#include "../port/talk.h"

#include "modules/link/link.c"

netglue_fate_t (*netglue_intercept)(netglue_t *g, netdev_frame_t *f, uint64_t now_ns);
netglue_fate_t (**netglue_forwarder)(netglue_t *g, netdev_frame_t *f, uint64_t now_ns) = &netglue_intercept;
static netglue_t cards[2];
static bool full;

void netstack_start(void) {}
void netevent_raise(void) {}
unsigned netglue_count(void) { return HAL_ARRAY_LEN(cards); }
netglue_t *netglue_get(unsigned i) { return i < HAL_ARRAY_LEN(cards) ? &cards[i] : NULL; }
u8_t ip4_addr_isbroadcast_u32(u32_t a, const struct netif *n) {
    return a == IPADDR_BROADCAST || a == (netif_ip4_addr(n)->addr | ~netif_ip4_netmask(n)->addr);
}

struct pbuf *pbuf_alloc(pbuf_layer layer, u16_t len, pbuf_type type) {
    struct pbuf *p = layer == PBUF_RAW && type == PBUF_RAM ? calloc(1, sizeof *p) : NULL;
    if (p != NULL) {
        p->payload = malloc(len);
        p->len = p->tot_len = len;
    }
    return p;
}

u8_t pbuf_free(struct pbuf *p) {
    free(p->payload);
    free(p);
    return 1;
}

err_t nettx_push(struct netif *n, struct pbuf *p) {
    if (full) {
        return ERR_MEM;
    }
    printf("%d ", n == &cards[1].netif);
    talk_print_bytes(p->payload, p->len);
    return ERR_OK;
}

static netglue_fate_t forward(netglue_t *g, netdev_frame_t *f, uint64_t now_ns) {
    (void)now_ns;
    return g == &cards[0] && f->nsegs ? NETGLUE_KEPT : NETGLUE_PASSED;
}

static void receive(unsigned card, netdev_frame_t *f) {
    static const char *const fates[] = {"passed", "dropped", "kept"};
    printf("%s\n", fates[netglue_intercept != NULL ? netglue_intercept(&cards[card], f, 0) : NETGLUE_PASSED]);
}

static void frame(const talk_t *t) {
    netdev_frame_t f = {.nsegs = (uint16_t)(t->n - 2)};
    for (int i = 0; i < f.nsegs; i++) {
        size_t len;
        f.seg[i].base = talk_bytes(t, i + 2, &len);
        f.seg[i].len = (uint32_t)len;
    }
    receive((unsigned)talk_number(t, 1), &f);
    for (int i = 0; i < f.nsegs; i++) {
        free(f.seg[i].base);
    }
}

// Frames whose types and lengths are near to what is looked for, in up to three pieces.
static void fuzz(const talk_t *t) {
    static const uint8_t types[][2] = {{8, 0}, {8, 6}, {0x86, 0xdd}, {8, 0}};
    static uint8_t out[LINK_FRAME_MAX];
    unsigned taken = 0;
    srand((unsigned)talk_number(t, 1));
    for (uint64_t n = talk_number(t, 2); n > 0; n--) {
        netdev_frame_t f = {.nsegs = (uint16_t)(1 + rand() % 3)};
        for (int i = 0; i < f.nsegs; i++) {
            size_t len = (size_t)rand() % (i == 0 ? 90 : 1700);
            uint8_t *p = malloc(len > 0 ? len : 1);
            for (size_t k = 0; k < len; k++) {
                p[k] = (uint8_t)(rand() % 4 != 0 ? 0 : rand());
            }
            if (i == 0 && len > 45) {
                memcpy(p + TYPE_AT, types[rand() % 4], 2);
                p[14] = (uint8_t)(0x40 | (rand() % 2 ? 5 : rand() % 16));
                memset(p + 20, rand() % 4, 2);
                p[36] = 0;
                p[23] = rand() % 2 ? UDP : p[23];
                p[37] = rand() % 2 ? SERVER_PORT : p[37];
                memset(p + 30, rand() % 2 ? 0xff : 10, 4);
            }
            f.seg[i] = (netdev_seg_t){p, (uint32_t)len};
        }
        for (unsigned c = 0; c < 2; c++) {
            netglue_intercept(&cards[c], &f, 0);
            taken += link_take(c, out, sizeof out) > 0;
        }
        for (int i = 0; i < f.nsegs; i++) {
            free(f.seg[i].base);
        }
    }
    printf("%u\n", taken);
}

static void output(const talk_t *t) {
    size_t len;
    unsigned char *p = talk_bytes(t, 2, &len);
    struct pbuf *buf = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
    memcpy(buf->payload, p, len);
    struct netif *n = &cards[talk_number(t, 1)].netif;
    n->linkoutput(n, buf);
    pbuf_free(buf);
    free(p);
}

static void command(const talk_t *t) {
    unsigned card = (unsigned)talk_number(t, 1);
    if (talk_is(t, "listen")) {
        printf("%d\n", link_listen(card, (unsigned)talk_number(t, 2)));
    } else if (talk_is(t, "router")) {
        printf("%d\n", link_router(card, talk_number(t, 2) != 0));
    } else if (talk_is(t, "forwarder")) {
        *netglue_forwarder = forward;
    } else if (talk_is(t, "frame")) {
        frame(t);
    } else if (talk_is(t, "take")) {
        static uint8_t out[LINK_FRAME_MAX];
        int r = link_take(card, out, talk_number(t, 2));
        if (r < 0) {
            printf("%d\n", r);
        } else {
            talk_print_bytes(out, (size_t)r);
        }
    } else if (talk_is(t, "waiting")) {
        printf("%d\n", link_waiting(card));
    } else if (talk_is(t, "lost")) {
        printf("%u\n", link_lost(card));
    } else if (talk_is(t, "send")) {
        size_t len;
        unsigned char *p = talk_bytes(t, 2, &len);
        printf("%d\n", link_send(card, p, len));
        free(p);
    } else if (talk_is(t, "full")) {
        full = true;
    } else if (talk_is(t, "output")) {
        output(t);
    } else if (talk_is(t, "fuzz")) {
        fuzz(t);
    }
}

int main(void) {
    for (unsigned i = 0; i < HAL_ARRAY_LEN(cards); i++) {
        struct netif *n = &cards[i].netif;
        IP4_ADDR(ip_2_ip4(&n->ip_addr), 10, 1 + i, 0, 1);
        IP4_ADDR(ip_2_ip4(&n->netmask), 255, 255, 255, 0);
        memcpy(n->hwaddr, (uint8_t[]){2, 0, 0, 0, (uint8_t)(1 + i), 1}, NETDEV_MAC_LEN);
        n->linkoutput = nettx_push;
    }
    return talk(command);
}
