# SPDX-License-Identifier: MIT
"""The network of this machine: taps and bridges, relayed ports."""
