# SPDX-License-Identifier: MIT
# The script of a device that is used by its REPL alone.
