# SPDX-License-Identifier: MIT
"""CPython's features of the future, as they are here: annotations are never evaluated, division is true."""

annotations = absolute_import = division = print_function = unicode_literals = generator_stop = True
