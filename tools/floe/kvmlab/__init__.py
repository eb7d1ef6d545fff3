# SPDX-License-Identifier: MIT
"""The KVM lab: ordinary KVM (AMD's SVM with nested paging), emulated, and guests in it."""
