// SPDX-License-Identifier: MIT
// The environment beyond what the kernel command line says of it. Owns nothing. Not here: os.environ itself
// (bootargs.c). Context: main loop, from Python.

#ifndef FLOE_ENV_H
#define FLOE_ENV_H

#include <stdbool.h>

// Merge what --env-file named into the environment, once after a start; what the command line says wins (envfile.c).
// OSError, MemoryError: it can be asked again.
void floe_env_complete(void);
// Whether it has done its work since the start; bootargs.c begins anew.
extern bool floe_env_is_complete;

#endif
