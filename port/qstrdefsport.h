// SPDX-License-Identifier: MIT
// Strings of the port that the scan of the sources does not find: none.
