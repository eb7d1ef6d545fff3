// SPDX-License-Identifier: MIT
// port/libc/decimal.c. Commands: value HEX (bytes of the text): "ENDS BITS", or "none" if it is no number; digits BITS
// COUNT DECIMALS: "POWER DIGITS".

#include "talk.h"

#include "libc/decimal.c"

static void value(const talk_t *t) {
    size_t len;
    char *text = (char *)talk_bytes(t, 1, &len); // ends where the block does
    double_bits_t number = {.bits = 0};
    const char *end = decimal_value(text, text + len, &number.value);
    if (end == NULL) {
        printf("none\n");
    } else {
        printf("%d %llu\n", (int)(end - text), (unsigned long long)number.bits);
    }
    free(text);
}

static void digits(const talk_t *t) {
    double_bits_t number = {.bits = talk_number(t, 1)};
    char *text = malloc(DECIMAL_DIGITS);
    int power = decimal_digits(number.value, (int)talk_number(t, 2), (int)talk_number(t, 3), text);
    printf("%d %.*s\n", power, DECIMAL_DIGITS, text);
    free(text);
}

static void command(const talk_t *t) {
    if (talk_is(t, "value")) {
        value(t);
    } else if (talk_is(t, "digits")) {
        digits(t);
    }
}

int main(void) { return talk(command); }
