// SPDX-License-Identifier: MIT
// What mbedTLS's error numbers and a peer's alerts (RFC 8446, 6) mean, in words a person can act on.
// Owns the words. Not here: raising them (mod_tlssock.c). Context: main loop.

#include <stdio.h>

#include "mbedtls/error.h"
#include "mbedtls/pem.h"
#include "mbedtls/pk.h"
#include "psa/crypto.h"
#include "tls_internal.h"

typedef struct {
    int code;
    const char *text;
} row_t;

static const row_t verify_rows[] = {
    {MBEDTLS_X509_BADCERT_CN_MISMATCH, "it is not for this host name"},
    {MBEDTLS_X509_BADCERT_EXPIRED, "it has expired"},
    {MBEDTLS_X509_BADCERT_FUTURE, "it is not valid yet"},
    {MBEDTLS_X509_BADCERT_REVOKED, "it was revoked"},
    {MBEDTLS_X509_BADCERT_MISSING, "the peer showed none"},
    {MBEDTLS_X509_BADCERT_BAD_MD, "its signature uses a hash that is not secure"},
    {MBEDTLS_X509_BADCERT_BAD_PK, "its signature uses an algorithm that is not accepted"},
    {MBEDTLS_X509_BADCERT_BAD_KEY, "its key is too short or of a kind that is not accepted"},
    {MBEDTLS_X509_BADCERT_KEY_USAGE, "its key may not be used for this (keyUsage)"},
    {MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, "its key may not be used for this (extKeyUsage)"},
    {MBEDTLS_X509_BADCERT_NS_CERT_TYPE, "it is of another type"},
};

static const row_t alert_rows[] = {
    {10, "unexpected message"},
    {20, "bad record MAC"},
    {22, "record overflow"},
    {40, "handshake failure"},
    {42, "bad certificate"},
    {43, "unsupported certificate"},
    {44, "certificate revoked"},
    {45, "certificate expired"},
    {46, "certificate unknown"},
    {47, "illegal parameter"},
    {48, "unknown CA"},
    {49, "access denied"},
    {50, "decode error"},
    {51, "decrypt error"},
    {70, "protocol version not accepted"},
    {71, "insufficient security"},
    {80, "internal error"},
    {86, "inappropriate fallback"},
    {90, "user cancelled"},
    {109, "missing extension"},
    {110, "unsupported extension"},
    {112, "unrecognized name"},
    {115, "unknown PSK identity"},
    {116, "certificate required"},
    {120, "no application protocol"},
};

static const row_t rows[] = {
    {TLS_ERR_NO_CLOCK, "no wall clock: the dates of certificates cannot be checked (set the time, or CERT_NONE)"},
    {TLS_ERR_TRUNCATED, "the connection was cut off: it ended without close_notify"},
    {TLS_ERR_BAD_CONFIG, "MBEDTLS_ERR_SSL_BAD_CONFIG"},
    {MBEDTLS_ERR_X509_FATAL_ERROR, "certificate verify failed: verify_callback refused it"},
    {MBEDTLS_ERR_SSL_CONN_EOF, "the peer closed the connection during the handshake"},
    {MBEDTLS_ERR_SSL_CA_CHAIN_REQUIRED, "no CA certificates to check the peer's with: load_verify_locations()"},
    {MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION, "protocol version: the peer offers none that is allowed here"},
    {MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE, "certificate verify failed: the client showed none"},
    {MBEDTLS_ERR_SSL_INVALID_RECORD, "the peer does not speak TLS (invalid record)"},
    {MBEDTLS_ERR_SSL_INVALID_MAC, "a record was changed on its way (invalid MAC)"},
    {MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE, "unexpected message from the peer"},
    {MBEDTLS_ERR_SSL_UNEXPECTED_RECORD, "unexpected record from the peer"},
    {MBEDTLS_ERR_SSL_DECODE_ERROR, "a message of the peer's cannot be decoded"},
    {MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER, "the peer sent a parameter that is not allowed"},
    {MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE, "handshake failure: nothing in common with the peer"},
    {MBEDTLS_ERR_SSL_NO_APPLICATION_PROTOCOL, "no application protocol (ALPN) in common"},
    {MBEDTLS_ERR_SSL_UNSUPPORTED_EXTENSION, "the peer sent an extension that nobody asked for"},
    {MBEDTLS_ERR_SSL_UNRECOGNIZED_NAME, "the peer does not know this host name"},
    {MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL, "a message is too large: our certificate chain?"},
    {MBEDTLS_ERR_SSL_PRIVATE_KEY_REQUIRED, "no certificate was loaded: load_cert_chain()"},
    {MBEDTLS_ERR_SSL_BAD_CERTIFICATE, "the peer's certificate cannot be used"},
    {MBEDTLS_ERR_SSL_INTERNAL_ERROR, "internal error of mbedTLS"},
    {MBEDTLS_ERR_SSL_BAD_INPUT_DATA, "no certificate was loaded, or mbedTLS was misused"},
};

static const char *find(const row_t *table, size_t n, int code) {
    for (size_t i = 0; i < n; i++) {
        if (table[i].code == code) {
            return table[i].text;
        }
    }
    return NULL;
}

#define FIND(table, code) find(table, sizeof(table) / sizeof(table[0]), code)

bool tls_is_no_memory(int code) {
    switch (code) {
        case MBEDTLS_ERR_SSL_ALLOC_FAILED:
        case MBEDTLS_ERR_X509_ALLOC_FAILED:
        case MBEDTLS_ERR_PK_ALLOC_FAILED:
        case MBEDTLS_ERR_PEM_ALLOC_FAILED:
        case MBEDTLS_ERR_ECP_ALLOC_FAILED:
        case MBEDTLS_ERR_MPI_ALLOC_FAILED:
        case MBEDTLS_ERR_ASN1_ALLOC_FAILED:
        case MBEDTLS_ERR_MD_ALLOC_FAILED:
        case MBEDTLS_ERR_CIPHER_ALLOC_FAILED:
        case PSA_ERROR_INSUFFICIENT_MEMORY:
            return true;
        default: // the low-level part of a sum
            return -(-code & 0x7f) == MBEDTLS_ERR_MPI_ALLOC_FAILED || -(-code & 0x7f) == MBEDTLS_ERR_ASN1_ALLOC_FAILED;
    }
}

static void verify_text(char text[TLS_TEXT_SIZE], uint32_t flags, bool self_signed) {
    int at = snprintf(text, TLS_TEXT_SIZE, "certificate verify failed:");
    const char *gap = " ";
    if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) {
        at += snprintf(text + at, TLS_TEXT_SIZE - (size_t)at, "%s%s", gap,
                       self_signed ? "it is self-signed and not trusted" : "it was signed by an unknown CA");
        gap = ", ";
    }
    for (size_t i = 0; i < sizeof(verify_rows) / sizeof(verify_rows[0]) && at < TLS_TEXT_SIZE - 1; i++) {
        if (flags & (uint32_t)verify_rows[i].code) {
            at += snprintf(text + at, TLS_TEXT_SIZE - (size_t)at, "%s%s", gap, verify_rows[i].text);
            gap = ", ";
        }
    }
}

void tls_text(char text[TLS_TEXT_SIZE], int code, const tls_reason_t *why) {
    if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        verify_text(text, why->verify, why->self_signed);
        return;
    }
    if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        const char *name = FIND(alert_rows, why->alert);
        snprintf(text, TLS_TEXT_SIZE, "the peer refused: alert %d, %s", why->alert, name != NULL ? name : "unknown");
        return;
    }
    const char *words = FIND(rows, code);
    if (words != NULL) {
        snprintf(text, TLS_TEXT_SIZE, "%s", words);
    } else if (tls_is_no_memory(code)) {
        snprintf(text, TLS_TEXT_SIZE, "out of memory");
    } else {
        snprintf(text, TLS_TEXT_SIZE, "mbedTLS error -0x%04x", (unsigned)-code);
    }
}
