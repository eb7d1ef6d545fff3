// SPDX-License-Identifier: MIT
// Of the head of an HTTP/1.1 request (RFC 9112) what decides its answer where a page is served: method, path, and
// the few header fields that such an answer depends on. Two heads of the same key differ in query, cookies and the
// like. Owns nothing. Not here: what a head means, and what is wrong with a bad one (images/web/http1.py). Context:
// main loop.

#ifndef FLOE_HTTPKEY_H
#define FLOE_HTTPKEY_H

#include <stddef.h>
#include <stdint.h>

enum { HTTPKEY_MAX = 512 };

// The key of one whole GET or HEAD request. 0: it is not whole, not alone, not plainly valid, or its key is
// longer than HTTPKEY_MAX; then somebody else has to look at it.
size_t httpkey_make(const uint8_t *head, size_t size, uint8_t key[HTTPKEY_MAX]);

#endif
