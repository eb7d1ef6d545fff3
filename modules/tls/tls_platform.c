// SPDX-License-Identifier: MIT
// What mbedTLS asks of a platform: memory, random bytes, the time. Memory is the C heap's; all of TLS together takes
// at most half of RAM, so that no crowd of handshakes can take what the script needs.
// Owns the count of that memory. Not here: what needs any of it. Context: main loop.

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hal.h"
#include "mbedtls/platform_time.h"
#include "mbedtls/platform_util.h"
#include "psa/crypto.h"
#include "tls.h"

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
#define FIRST_VALID_S 1577836800l // 2020-01-01: a clock that says less was never set

// In front of each block; its size keeps the alignment of malloc().
typedef struct {
    _Alignas(16) size_t bytes;
} header_t;

static size_t used;

size_t tls_memory_used(void) { return used; }

void *tls_calloc(size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2) {
        return NULL;
    }
    bytes += sizeof(header_t);
    if (used + bytes > hal_mem_total() / 2) {
        return NULL;
    }
    header_t *h = calloc(1, bytes);
    if (h == NULL) {
        return NULL;
    }
    h->bytes = bytes;
    used += bytes;
    return h + 1;
}

void tls_free(void *p) {
    if (p != NULL) {
        header_t *h = (header_t *)p - 1;
        used -= h->bytes;
        free(h);
    }
}

int tls_random(void *unused, unsigned char *out, size_t len) {
    return hal_entropy_get(out, len) ? 0 : PSA_ERROR_INSUFFICIENT_ENTROPY;
}

psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *unused, uint8_t *out, size_t size,
                                             size_t *len) {
    *len = hal_entropy_get(out, size) ? size : 0;
    return *len == size ? PSA_SUCCESS : PSA_ERROR_INSUFFICIENT_ENTROPY;
}

// ---- time ---------------------------------------------------------------------------------------

long tls_time(long *out) {
    long now = (long)(hal_clock_wall_ns() / NS_PER_S);
    if (out != NULL) {
        *out = now;
    }
    return now;
}

bool tls_time_valid(void) { return tls_time(NULL) >= FIRST_VALID_S; }

mbedtls_ms_time_t mbedtls_ms_time(void) { return (mbedtls_ms_time_t)(hal_clock_ns() / NS_PER_MS); }

// Proleptic Gregorian calendar, by eras of 400 years that begin on a first of March.
struct tm *mbedtls_platform_gmtime_r(const mbedtls_time_t *t, struct tm *out) {
    enum { DAY_S = 86400, ERA_DAYS = 146097, TO_1970 = 719468 };
    long days = *t / DAY_S, s = *t % DAY_S;
    if (*t < 0) {
        return NULL;
    }
    days += TO_1970;
    long era = days / ERA_DAYS, doe = days % ERA_DAYS;
    long yoe = (doe - doe / 1460 + doe / 36524 - doe / (ERA_DAYS - 1)) / 365;
    long doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    long mp = (5 * doy + 2) / 153;
    memset(out, 0, sizeof(*out));
    out->tm_mday = (int)(doy - (153 * mp + 2) / 5 + 1);
    out->tm_mon = (int)(mp < 10 ? mp + 2 : mp - 10);
    out->tm_year = (int)(yoe + era * 400 + (mp >= 10) - 1900);
    out->tm_hour = (int)(s / 3600);
    out->tm_min = (int)(s / 60 % 60);
    out->tm_sec = (int)(s % 60);
    return out;
}
