// SPDX-License-Identifier: MIT
// Strings of the port that are no names in C.

Q(asyncio.core)
