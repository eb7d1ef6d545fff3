// SPDX-License-Identifier: MIT
// The family's line, worked by commands (harness.c): line send HEAD HEX, line room LEN, line receive SIZE, line run,
// line arm, line busy, line left, line dead. "none": there is no line.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_hal.h"
#include "familydev.h"

bool line_command(char **word, unsigned words);

static size_t bytes_of(const char *hex, uint8_t **out) {
    size_t n = strlen(hex) / 2;
    *out = malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        sscanf(hex + 2 * i, "%2x", &byte);
        (*out)[i] = (uint8_t)byte;
    }
    return n;
}

static void send(familydev_t *d, const char *head_hex, const char *hex) {
    uint8_t *head, *data;
    size_t n = bytes_of(head_hex, &head), len = bytes_of(hex, &data);
    printf("%d\n", d->ops->send(d, head, n, data, len));
    free(head);
    free(data);
}

static void receive(familydev_t *d, size_t size) {
    uint8_t *out = malloc(size + 1);
    size_t n = d->ops->receive(d, out, size);
    fake_hex(out, n);
    printf("\n");
    free(out);
}

bool line_command(char **word, unsigned words) {
    familydev_t *d = familydev_get();
    if (words < 2 || strcmp(word[0], "line") != 0) {
        return false;
    }
    if (d == NULL) {
        printf("none\n");
    } else if (strcmp(word[1], "send") == 0) {
        send(d, word[2], words > 3 ? word[3] : "");
    } else if (strcmp(word[1], "room") == 0) {
        printf("%d\n", d->ops->room(d, (size_t)strtoul(word[2], NULL, 0)));
    } else if (strcmp(word[1], "receive") == 0) {
        receive(d, (size_t)strtoul(word[2], NULL, 0));
    } else if (strcmp(word[1], "run") == 0) {
        printf("%d\n", d->ops->run(d));
    } else if (strcmp(word[1], "arm") == 0) {
        printf("%d\n", d->ops->arm(d));
    } else if (strcmp(word[1], "busy") == 0) {
        printf("%d\n", d->ops->busy(d));
    } else if (strcmp(word[1], "left") == 0) {
        uint64_t due = d->ops->deadline(d);
        printf("%llu\n", (unsigned long long)(due == UINT64_MAX || due < fake_hal.now ? due : due - fake_hal.now));
    } else {
        printf("%d\n", d->dead);
    }
    return true;
}
