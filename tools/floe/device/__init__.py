# SPDX-License-Identifier: MIT
"""A detached VM as an embedded device: its console for pyserial and mpremote, code run on its REPL."""
