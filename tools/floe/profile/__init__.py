# SPDX-License-Identifier: MIT
"""What samples of a running VM say: where its time goes, as a table and as a flame graph."""
