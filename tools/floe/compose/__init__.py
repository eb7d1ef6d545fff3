# SPDX-License-Identifier: MIT
"""Several VMs as one stack: the file that describes it, what is there of it, and the way from one to the other."""
