// SPDX-License-Identifier: MIT
// TLS over mbedTLS, without Python: contexts (what is trusted, shown and allowed) and connections over any transport.
// A context is counted: connections keep it. All memory is the C heap's. Owns nothing itself.
// Not here: waiting (every verb returns at once), sockets, Python (mod_tls.c).
//
// Results: >= 0; -EAGAIN: not now, see tls_conn_want(); -EPROTO: TLS failed, tls_conn_failure() has the words, and the
// connection is of no more use; other -errno: the transport's, and the same verb may be tried again.
// Context: main loop; nothing here may be called from the transport's own functions.

#ifndef FLOE_TLS_H
#define FLOE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct tls_ctx tls_ctx_t;
typedef struct tls_conn tls_conn_t;

#define TLS_LIBRARY_VERSION "Mbed TLS 3.6.6"
enum { TLS_V1_2 = 0x0303, TLS_V1_3 = 0x0304 };
enum { TLS_VERIFY_NONE = 0, TLS_VERIFY_OPTIONAL = 1, TLS_VERIFY_REQUIRED = 2 };
enum { TLS_WANT_IN = 1, TLS_WANT_OUT = 4 }; // as SOCK_POLL_IN and SOCK_POLL_OUT
enum { TLS_TEXT_SIZE = 200 };               // enough for every text
enum { TLS_ERR_NO_CLOCK = -0x7f01, TLS_ERR_BAD_CONFIG = -0x5e80 };

// Bytes sent or received (0: the end), -EAGAIN, -errno. The buffer stays the caller's.
typedef struct {
    ssize_t (*send)(void *arg, const void *data, size_t len);
    ssize_t (*recv)(void *arg, void *out, size_t size);
    // Whether to go on with this certificate of the peer's (DER); asked if tls_ctx_set_asks().
    bool (*accept)(void *arg, const unsigned char *der, size_t len, int depth);
} tls_io_t;

// A PEM or DER file in memory; PEM needs the terminating NUL, which len counts.
typedef struct {
    const unsigned char *data;
    size_t len;
} tls_blob_t;

// ---- tls_platform.c -----------------------------------------------------------------------------
size_t tls_memory_used(void);
bool tls_time_valid(void); // whether there is a wall clock that was ever set
int tls_random(void *unused, unsigned char *out, size_t len);

// ---- tls_ctx.c ----------------------------------------------------------------------------------
// A new context with one reference, the caller's. NULL: no memory. -EIO in *error: no entropy source.
tls_ctx_t *tls_ctx_new(bool server, int *error);
void tls_ctx_keep(tls_ctx_t *ctx);
void tls_ctx_release(tls_ctx_t *ctx);
// Draw new keys for session tickets: those given out are good for nothing any more.
void tls_ctx_renew_tickets(tls_ctx_t *ctx);
bool tls_ctx_is_server(const tls_ctx_t *ctx);
// Settings for connections that begin later.
int tls_ctx_verify(const tls_ctx_t *ctx);
void tls_ctx_set_verify(tls_ctx_t *ctx, int mode);
bool tls_ctx_check_name(const tls_ctx_t *ctx);
void tls_ctx_set_check_name(tls_ctx_t *ctx, bool on);
void tls_ctx_set_asks(tls_ctx_t *ctx, bool on); // the transport's accept() has the last word
int tls_ctx_version(const tls_ctx_t *ctx, bool max);
int tls_ctx_set_version(tls_ctx_t *ctx, bool max, int version); // -EINVAL: no such version
// Trust these certificates too. Copied. How many were not understood, -EINVAL: none was; -ENOMEM.
int tls_ctx_add_ca(tls_ctx_t *ctx, tls_blob_t pem);
bool tls_ctx_has_ca(const tls_ctx_t *ctx);
// Show a certificate chain, with its private key. Copied. 0, -ENOMEM, or which of them is bad.
enum { TLS_BAD_KEY = 1, TLS_BAD_CERT = 2, TLS_BAD_PAIR = 3 };
int tls_ctx_check_key(tls_blob_t key); // 0, TLS_BAD_KEY, -ENOMEM
int tls_ctx_add_cert(tls_ctx_t *ctx, tls_blob_t cert, tls_blob_t key);
// names: n strings, in order of preference. Copied. -EINVAL: an empty or overlong one; -ENOMEM.
int tls_ctx_set_alpn(tls_ctx_t *ctx, const char *const *names, size_t n);
// ids of cipher suites, copied; -ENOMEM.
int tls_ctx_set_ciphers(tls_ctx_t *ctx, const int *ids, size_t n);
const int *tls_cipher_list(void); // all there are, ending in 0
const char *tls_cipher_name(int id);
int tls_cipher_id(const char *name); // 0: unknown

// ---- tls_conn.c ---------------------------------------------------------------------------------
// A connection over a transport; both outlive it. hostname: NULL, or whom a client expects. NULL: no memory, or in
// *error -EINVAL for a hostname that is none.
tls_conn_t *tls_conn_new(tls_ctx_t *ctx, const tls_io_t *io, void *io_arg, const char *hostname, int *error);
// Frees without a word to the peer, and touches neither transport nor Python.
void tls_conn_free(tls_conn_t *c);
// Take an end of the transport without close_notify as the end that was meant.
void tls_conn_allow_ragged_end(tls_conn_t *c);
int tls_conn_handshake(tls_conn_t *c);
ssize_t tls_conn_recv(tls_conn_t *c, void *out, size_t size); // 0: the peer has said that it sends no more
// How much of max bytes tls_conn_recv() would give at once; 0: the end.
ssize_t tls_conn_readable(tls_conn_t *c, size_t max);
// What was begun is to be offered again: after -EAGAIN, the same bytes (and more, if there are more).
ssize_t tls_conn_send(tls_conn_t *c, const void *data, size_t len);
// Say that we send no more (close_notify). 0, -EAGAIN, -errno.
int tls_conn_finish(tls_conn_t *c);
bool tls_conn_established(const tls_conn_t *c);
bool tls_conn_pending(const tls_conn_t *c);  // decrypted bytes wait, or the end
unsigned tls_conn_want(const tls_conn_t *c); // TLS_WANT_* that the last verb needs, if not its own direction; or 0
bool tls_conn_failed(const tls_conn_t *c);
// mbedTLS's error number, and what it means.
int tls_conn_failure(const tls_conn_t *c, char text[TLS_TEXT_SIZE]);
const char *tls_conn_cipher(const tls_conn_t *c);   // NULL before the handshake
const char *tls_conn_version(const tls_conn_t *c);  // "TLSv1.3"
const char *tls_conn_alpn(const tls_conn_t *c);     // NULL: none was agreed on
const char *tls_conn_hostname(const tls_conn_t *c); // server: what the client asked for; NULL if it did not say
bool tls_conn_resumed(const tls_conn_t *c);
bool tls_conn_peer(const tls_conn_t *c, tls_blob_t *der); // the peer's certificate; false if it showed none
// A client's session, to be given to a later connection. *out is the caller's (tls_free). -ENOENT: none yet; -ENOMEM.
int tls_conn_session(tls_conn_t *c, unsigned char **out, size_t *len);
int tls_conn_set_session(tls_conn_t *c, const unsigned char *data,
                         size_t len); // -EINVAL: not one of ours; -EACCES: verified less than this is to
void tls_free(void *p);

// ---- tls_text.c ---------------------------------------------------------------------------------
typedef struct {
    uint32_t verify; // flags of the certificates' checks
    bool self_signed;
    int alert; // number that the peer sent
} tls_reason_t;
void tls_text(char text[TLS_TEXT_SIZE], int code, const tls_reason_t *why); // what a failure means
bool tls_is_no_memory(int code);

#endif
