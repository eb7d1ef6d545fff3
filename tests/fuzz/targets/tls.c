// SPDX-License-Identifier: MIT
// TLS from outside: a client and a server of ours, in whose streams somebody changes bytes, or who hear only what the
// input says; and what is read from files, certificates and sessions. That a record's tag is right is not checked
// (targets.toml), so that a change of encrypted bytes is one of what is in them. modules/tls, mbedTLS's library

#include <errno.h>
#include <string.h>

#include "hal.h"
#include "tls.h"
#include "world.h"

enum { PIPE = 1 << 16, TURNS = 60, CHANGES = 12 };

// Nobody's: made for this file.
static const char key[] = "-----BEGIN EC PRIVATE KEY-----\n"
                          "MHcCAQEEIOv+IcdgXzHeVDTuPqgTxqFA6oDVzK8rDPkLKHX1D63loAoGCCqGSM49\n"
                          "AwEHoUQDQgAE6wqwI/o7Atr/n270xW/vv3+aB3kXgFQ0cCehzlEm3bpgBmTvnh6w\n"
                          "7a7+uI6ybH2qNb8omF7nGFxNl/uiESetRg==\n"
                          "-----END EC PRIVATE KEY-----\n";
static const char cert[] = "-----BEGIN CERTIFICATE-----\n"
                           "MIIBgDCCASagAwIBAgIUdv02GXS0VPGd6B/PEC0rFC0nBRswCgYIKoZIzj0EAwIw\n"
                           "DTELMAkGA1UEAwwCdm0wIBcNMjYxMTMwMDkxMjI1WhgPMjEyNjExMDYwOTEyMjVa\n"
                           "MA0xCzAJBgNVBAMMAnZtMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6wqwI/o7\n"
                           "Atr/n270xW/vv3+aB3kXgFQ0cCehzlEm3bpgBmTvnh6w7a7+uI6ybH2qNb8omF7n\n"
                           "GFxNl/uiESetRqNiMGAwHQYDVR0OBBYEFJt+1mVvcnmfu77wowRKnFswgkFfMB8G\n"
                           "A1UdIwQYMBaAFJt+1mVvcnmfu77wowRKnFswgkFfMA8GA1UdEwEB/wQFMAMBAf8w\n"
                           "DQYDVR0RBAYwBIICdm0wCgYIKoZIzj0EAwIDSAAwRQIhAPNuvPjW8kgdERpHbKNB\n"
                           "nXwBiSguH6uBCRKvEo9ZbijyAiAmISgfuNP2w7UnHAhJ3GYMIsptLy+4HSflOLdy\n"
                           "mWc72g==\n"
                           "-----END CERTIFICATE-----\n";

// ---- the machine ---------------------------------------------------------------------------------

static uint64_t drawn; // of a generator that is no secret

size_t hal_mem_total(void) { return 64 << 20; }
uint64_t hal_clock_ns(void) { return 1000000000; }
uint64_t hal_clock_wall_ns(void) { return 1800000000ull * 1000000000; }

bool hal_entropy_get(void *out, size_t len) {
    for (uint8_t *p = out; len > 0; len--) {
        drawn = drawn * 6364136223846793005u + 1442695040888963407u;
        *p++ = (uint8_t)(drawn >> 56);
    }
    return true;
}

// ---- a stream with somebody in it ----------------------------------------------------------------

typedef struct {
    uint8_t data[PIPE];
    size_t written, read, cut; // cut: it ends there
} stream_t;

typedef struct {
    stream_t *in, *out;
} end_t;

static struct {
    bool to_server;
    uint8_t flip;
    size_t at;
} change[CHANGES];
static unsigned changes;
static stream_t to_server, to_client;

static ssize_t on_send(void *arg, const void *data, size_t len) {
    stream_t *s = ((end_t *)arg)->out;
    size_t n = len < PIPE - s->written ? len : PIPE - s->written;
    memcpy(s->data + s->written, data, n);
    for (unsigned i = 0; i < changes; i++) {
        if (change[i].to_server == (s == &to_server) && change[i].at >= s->written && change[i].at < s->written + n) {
            s->data[change[i].at] ^= change[i].flip;
        }
    }
    s->written += n;
    return n > 0 ? (ssize_t)n : -ECONNRESET;
}

static ssize_t on_recv(void *arg, void *out, size_t size) {
    stream_t *s = ((end_t *)arg)->in;
    size_t end = s->written < s->cut ? s->written : s->cut, n = size < end - s->read ? size : end - s->read;
    memcpy(out, s->data + s->read, n);
    s->read += n;
    return n > 0 ? (ssize_t)n : s->read == s->cut ? 0 : -EAGAIN;
}

static bool on_accept(void *arg, const unsigned char *der, size_t len, int depth) {
    (void)arg;
    uint8_t sum = (uint8_t)depth; // all of it is there to be read
    for (size_t i = 0; i < len; i++) {
        sum ^= der[i];
    }
    return sum != 0xa5;
}

static const tls_io_t io = {on_send, on_recv, on_accept};

// ---- a party -------------------------------------------------------------------------------------

static tls_ctx_t *server_ctx, *client_ctx;
static tls_conn_t *server, *client;
static end_t server_end = {&to_server, &to_client}, client_end = {&to_client, &to_server};

void fuzz_start(void) {
    static const char *const names[] = {"h2", "http/1.1"};
    int error;
    server_ctx = tls_ctx_new(true, &error);
    client_ctx = tls_ctx_new(false, &error);
    const tls_blob_t chain = {(const uint8_t *)cert, sizeof cert}, own = {(const uint8_t *)key, sizeof key};
    FUZZ_CHECK(tls_ctx_add_cert(server_ctx, chain, own) == 0 && tls_ctx_add_cert(client_ctx, chain, own) == 0);
    FUZZ_CHECK(tls_ctx_add_ca(server_ctx, chain) == 0 && tls_ctx_add_ca(client_ctx, chain) == 0);
    FUZZ_CHECK(tls_ctx_set_alpn(server_ctx, names, 2) == 0 && tls_ctx_set_alpn(client_ctx, names, 2) == 0);
}

static tls_conn_t *connection(tls_ctx_t *ctx, end_t *end) {
    int error;
    tls_conn_t *c = tls_conn_new(ctx, &io, end, ctx == client_ctx ? "vm" : NULL, &error);
    FUZZ_CHECK(c != NULL);
    return c;
}

static void look(tls_conn_t *c) {
    char text[TLS_TEXT_SIZE];
    tls_blob_t der;
    if (tls_conn_failed(c)) {
        FUZZ_CHECK(tls_conn_failure(c, text) < 0 && strnlen(text, sizeof text) < sizeof text &&
                   !tls_conn_established(c));
    }
    if (tls_conn_peer(c, &der)) {
        on_accept(NULL, der.data, der.len, 0);
    }
    FUZZ_CHECK(tls_conn_hostname(c) == NULL || strlen(tls_conn_hostname(c)) < 65536);
    FUZZ_CHECK(!tls_conn_established(c) || (tls_conn_cipher(c) != NULL && tls_conn_version(c) != NULL));
}

// Says something, hears what there is, and ends. True: it heard what the other one says.
static bool work(tls_conn_t *c, bool *said) {
    uint8_t heard[300];
    if (tls_conn_handshake(c) == 0 && !*said) {
        *said = tls_conn_send(c, "some words", 10) == 10;
    }
    ssize_t there = tls_conn_readable(c, sizeof heard), n = tls_conn_recv(c, heard, sizeof heard);
    FUZZ_CHECK(there <= (ssize_t)sizeof heard && n <= (ssize_t)sizeof heard);
    look(c);
    return n == 10 && memcmp(heard, "some words", 10) == 0;
}

static void talk(bool resumes) {
    bool client_said = false, server_said = false, client_heard = false, server_heard = false;
    server = connection(server_ctx, &server_end);
    client = connection(client_ctx, &client_end);
    for (unsigned i = 0; i < TURNS && !(client_heard && server_heard); i++) {
        client_heard |= work(client, &client_said);
        server_heard |= work(server, &server_said);
    }
    FUZZ_CHECK(changes > 0 || (client_heard && server_heard));
    uint8_t *session;
    size_t len;
    if (resumes && tls_conn_session(client, &session, &len) == 0) {
        tls_conn_t *next = connection(client_ctx, &client_end);
        FUZZ_CHECK(tls_conn_set_session(next, session, len) == 0);
        tls_conn_free(client);
        tls_conn_free(server);
        client = next;
        server = connection(server_ctx, &server_end);
        to_server.read = to_server.written; // a new connection, in whose streams bytes are changed, too
        to_client.read = to_client.written;
        client_said = server_said = false;
        for (unsigned i = 0; i < TURNS; i++) {
            work(client, &client_said);
            work(server, &server_said);
        }
    }
    tls_conn_finish(client);
    tls_conn_finish(server);
    work(client, &client_said);
    tls_conn_free(client);
    tls_conn_free(server);
}

// ---- what the input says -------------------------------------------------------------------------

static void between_two(unsigned how) {
    int version = how & 4 ? TLS_V1_2 : TLS_V1_3;
    tls_ctx_set_version(client_ctx, true, version);
    tls_ctx_set_verify(server_ctx, how & 8 ? TLS_VERIFY_REQUIRED : TLS_VERIFY_NONE); // a client with a certificate
    tls_ctx_set_verify(client_ctx, how & 16 ? TLS_VERIFY_NONE : TLS_VERIFY_OPTIONAL);
    tls_ctx_set_asks(client_ctx, how & 32);
    to_server.cut = to_client.cut = PIPE;
    for (; changes < CHANGES && in_left() > 0; changes++) {
        uint8_t what = in_u8();
        change[changes].to_server = what & 1;
        change[changes].at = in_below(what & 2 ? 256 : 3000);
        change[changes].flip = in_u8();
        if ((what & 0xf0) == 0xf0) {
            *(what & 1 ? &to_server.cut : &to_client.cut) = change[changes].at;
        }
    }
    talk((how & 64) != 0);
}

static void alone(unsigned how) {
    tls_ctx_t *ctx = how & 1 ? client_ctx : server_ctx;
    size_t len;
    uint8_t *data = in_rest(PIPE, &len);
    stream_t *in = how & 1 ? &to_client : &to_server;
    memcpy(in->data, data, len);
    in->written = in->cut = len;
    tls_conn_t *c = connection(ctx, how & 1 ? &client_end : &server_end);
    bool said = false;
    for (unsigned i = 0; i < TURNS && !tls_conn_failed(c); i++) {
        work(c, &said);
    }
    tls_conn_free(c);
}

static void from_file(unsigned how) {
    size_t len;
    uint8_t *data = in_rest(4000, &len);
    if (how & 1) {
        tls_conn_t *c = connection(client_ctx, &client_end);
        if (len > 0) {
            tls_conn_set_session(c, data, len); // mod_tls.c: of some length
        }
        tls_conn_free(c);
    } else {
        tls_ctx_add_ca(client_ctx, (tls_blob_t){data, len});
    }
}

void fuzz_one(void) {
    uint8_t how = in_u8();
    switch (how & 3) {
        case 0:
        case 1:
            between_two(how);
            break;
        case 2:
            alone(how >> 2);
            break;
        case 3:
            from_file(how >> 2);
            break;
    }
}
