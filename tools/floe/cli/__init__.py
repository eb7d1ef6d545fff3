# SPDX-License-Identifier: MIT
"""The command `floe`: one module a verb, which knows steps and may print; main.py knows their names."""
