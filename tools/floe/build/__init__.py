# SPDX-License-Identifier: MIT
"""From an app to a checked ELF: configuration, imports, packages, bytecode, link."""
