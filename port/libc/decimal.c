// SPDX-License-Identifier: MIT
// Text to double and back, right to the last bit: the number as all of its decimal digits, multiplied and divided by
// powers of two until the mantissa, or the text, can be read off (IEEE 754-2019 5.12.2). Owns nothing. Not here: where
// signs, points and exponents go in the text (formatfloat.c). Context: any; up to 1400 bytes of stack.

#include "decimal.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    BASE = 1000000000, // a word holds so many values
    WORD_DIGITS = 9,
    MULTIPLY_BITS = 29, // at a time: less than BASE
    DIVIDE_BITS = 9,    // at a time: 2**9 divides BASE
    POINT = 35,         // words before the decimal point: 309 digits
    WORDS = 158,        // 1074 digits behind it, or 768 from 1e-324 on
    MANTISSA_BITS = 52,
    EXPONENT_MIN = -1074,     // what the lowest bit of the smallest number counts
    EXPONENT_MAX = 100000000, // a longer text has no digits to make up for it
    POWER_MAX = 308,
    POWER_MIN = -324, // of ten, beyond which all is infinite, or 0
};

static const uint64_t INFINITE = 0x7ffULL << MANTISSA_BITS;

typedef union {
    double value;
    uint64_t bits;
} double_bits_t;

// A number >= 0. Words outside of [first, end) are 0.
typedef struct {
    uint32_t words[WORDS];
    int first, end;
} number_t;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static void multiply(number_t *n, int bits) {
    uint64_t carry = 0;
    for (int i = n->end; i-- > n->first;) {
        carry += (uint64_t)n->words[i] << bits;
        n->words[i] = (uint32_t)(carry % BASE);
        carry /= BASE;
    }
    if (carry > 0) {
        n->words[--n->first] = (uint32_t)carry;
    }
}

// What has no room counts as a last digit that is not 0: enough to know on which side of a half the number is.
static void divide(number_t *n, int bits) {
    uint32_t carry = 0;
    for (int i = n->first; i < n->end; i++) {
        uint32_t word = n->words[i];
        n->words[i] = (word >> bits) + carry;
        carry = (word & ((1U << bits) - 1)) * (BASE >> bits);
    }
    if (carry > 0 && n->end < WORDS) {
        n->words[n->end++] = carry;
    } else if (carry > 0) {
        n->words[WORDS - 1] |= 1;
    }
    n->first += n->words[n->first] == 0;
}

// n * 2**shift, or nearer to it. Returns what remains of shift.
static int scale(number_t *n, int shift) {
    if (shift > 0) {
        int bits = shift < MULTIPLY_BITS ? shift : MULTIPLY_BITS;
        multiply(n, bits);
        return shift - bits;
    }
    int bits = -shift < DIVIDE_BITS ? -shift : DIVIDE_BITS;
    divide(n, bits);
    return shift + bits;
}

// All digits of x >= 0.
static void expand(number_t *n, double x) {
    double_bits_t number = {.value = x};
    int shift = (int)(number.bits >> MANTISSA_BITS);
    shift -= shift > 0; // the exponent of subnormal numbers is that of the smallest normal ones
    uint64_t mantissa = number.bits - ((uint64_t)shift << MANTISSA_BITS);
    memset(n, 0, sizeof(*n));
    n->words[POINT - 2] = (uint32_t)(mantissa / BASE);
    n->words[POINT - 1] = (uint32_t)(mantissa % BASE);
    n->end = POINT;
    n->first = POINT - 1 - (n->words[POINT - 2] != 0);
    for (shift += EXPONENT_MIN; mantissa != 0 && shift != 0;) {
        shift = scale(n, shift);
    }
}

static int round_digits(const number_t *n, int count, int decimals, char *digits) {
    uint32_t place = BASE / 10;
    int power = (POINT - n->first) * WORD_DIGITS - 1;
    memset(digits, '0', DECIMAL_DIGITS);
    for (; n->words[n->first] < place; power--) {
        place /= 10;
    }
    if (place == 0) {
        return 0;
    }
    int kept = count < power + 1 + decimals ? count : power + 1 + decimals, seen = 0, twice = 0;
    for (int i = n->first; i < n->end; i++, place = BASE / 10) {
        for (; place > 0; place /= 10, seen++) {
            int digit = (int)(n->words[i] / place % 10);
            if (seen < kept) {
                digits[seen] += (char)digit;
            } else if (seen == kept) {
                twice = 2 * digit;
            } else {
                twice |= digit != 0;
            }
        }
    }
    if (twice > 10 || (twice == 10 && kept > 0 && (digits[kept - 1] & 1))) {
        for (; kept > 0 && digits[kept - 1] == '9'; kept--) {
            digits[kept - 1] = '0';
        }
        power += kept == 0;
        digits[kept - (kept > 0)] += 1;
    }
    return power;
}

// The double nearest to digits of which the first, which is not 0, counts 10**power.
static double nearest(const char *digits, const char *end, int power) {
    const int FAR = 40; // words, which keep what is divided positive
    int above = power + FAR * WORD_DIGITS, i = POINT - 1 + FAR - above / WORD_DIGITS, exponent = 0, shift;
    number_t n = {.first = i};
    uint32_t place = 1;
    for (int left = above % WORD_DIGITS; left > 0; left--) {
        place *= 10;
    }
    for (; digits < end; digits++) {
        uint32_t digit = (uint32_t)(*digits - '0');
        if (digit > 10) {
            continue; // a point or an underscore; 10 is decimal_digits()'s
        }
        if (i == WORDS) {
            n.words[WORDS - 1] |= digit != 0; // as in divide()
            continue;
        }
        n.words[i] += digit * place;
        n.end = i + 1;
        place /= 10;
        if (place == 0) {
            place = BASE / 10;
            i++;
        }
    }
    uint64_t whole;
    for (;;) {
        whole = (uint64_t)n.words[POINT - 2] * BASE + n.words[POINT - 1];
        shift = n.first < POINT - 2 ? -DIVIDE_BITS : __builtin_clzll(whole | 1) - (63 - MANTISSA_BITS);
        shift = shift < exponent - EXPONENT_MIN ? shift : exponent - EXPONENT_MIN;
        if (shift == 0) {
            break;
        }
        exponent -= shift - scale(&n, shift);
    }
    bool more = whole & 1; // a half is rounded to even
    for (i = POINT + 1; i < n.end; i++) {
        more |= n.words[i] != 0;
    }
    whole += n.words[POINT] > BASE / 2 || (n.words[POINT] == BASE / 2 && more);
    double_bits_t number = {.bits = ((uint64_t)(exponent - EXPONENT_MIN) << MANTISSA_BITS) + whole};
    return number.bits < INFINITE ? number.value : HUGE_VAL;
}

const char *decimal_value(const char *start, const char *end, double *value) {
    const char *first = NULL, *s = start;
    int power = -1, exponent = 0;
    bool behind = false, negative = false, any = false;
    for (; s < end; s++) {
        if (*s == '.' && !behind) {
            behind = true;
        } else if (is_digit(*s)) {
            any = true;
            first = first == NULL && *s != '0' ? s : first;
            power += first != NULL ? !behind : -behind;
        } else if (*s != '_') {
            break;
        }
    }
    const char *digits_end = s;
    if (!any) {
        return start;
    }
    if (s < end && (*s | 0x20) == 'e') {
        s++;
        if (s < end && (*s == '+' || *s == '-')) {
            negative = *s++ == '-';
        }
        if (s == end) {
            return NULL;
        }
        for (; s < end && (is_digit(*s) || *s == '_'); s++) {
            exponent = *s == '_' || exponent > EXPONENT_MAX ? exponent : exponent * 10 + (*s - '0');
        }
    }
    power += negative ? -exponent : exponent;
    *value = first == NULL || power < POWER_MIN ? 0 : power > POWER_MAX ? HUGE_VAL : nearest(first, digits_end, power);
    return s;
}

int decimal_digits(double x, int count, int decimals, char *digits) {
    const double NORMAL_MIN = 0x1p-1022; // from here on 15 digits are never too many
    number_t n;
    expand(&n, x);
    if (count > 0) {
        return round_digits(&n, count, decimals, digits);
    }
    for (count = x < NORMAL_MIN ? 1 : 15;; count++) { // 17 are always enough
        int power = round_digits(&n, count, decimals, digits);
        for (int i = 0; i < 2; i++) {
            if (nearest(digits, digits + count, power) == x) {
                return power;
            }
            digits[count - 1]++; // of a power of two the numbers below are nearer than those above
        }
    }
}
