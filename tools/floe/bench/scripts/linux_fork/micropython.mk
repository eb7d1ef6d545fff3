# SPDX-License-Identifier: MIT
SRC_USERMOD_C += $(USERMOD_DIR)/linux_fork.c
CFLAGS_USERMOD += -I$(USERMOD_DIR)
