# SPDX-License-Identifier: MIT
"""A VM and the copies of it that fork() made: who they are, their pipes, waits and ends."""
