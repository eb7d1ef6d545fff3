# SPDX-License-Identifier: MIT
"""Tests in the Xen lab. This file is here so that the lab, a fixture of the package, ends behind the last of them."""
