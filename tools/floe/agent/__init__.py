# SPDX-License-Identifier: MIT
"""The floe at the other end of an ssh connection: it runs copies of a VM whose family another host has."""
