# SPDX-License-Identifier: MIT
# The source list of what helps a web server, relative to the top folder. Fast: what runs per request.

FLOE_HTTP_C := $(sort $(wildcard modules/http/*.c))
FLOE_HTTP_FAST := modules/http/httpkey.c
