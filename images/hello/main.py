# SPDX-License-Identifier: MIT
# The smallest appliance: one line, then the VM ends with exit code 0.
print("hello, world")
