# SPDX-License-Identifier: MIT
"""VMs on other hosts, and on this one, by libvirt: a connection, domains, images, what a host has."""
