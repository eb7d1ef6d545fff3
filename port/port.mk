# SPDX-License-Identifier: MIT
# The port archive: make -f port/port.mk PROFILE=sealed|dev, from the top folder. Makes build/port/PROFILE/:
# libfloe.a, genhdr/, link.ld, app.cflags, app.ldflags, compiler; and build/mpy-cross. FLOE_UPSTREAM=NAME: from the sources
# of that release in port/upstream.toml, all in build/NAME. Everything an image may need is
# compiled here once; freezing an app is a link against it (tools/floe/build/freeze.py). Every path is relative: the folder
# may have a blank in its name, and its name stays out of the objects, so that the same inputs give the same bytes.

PROFILE ?= sealed
TOP_BUILD := build$(addprefix /,$(FLOE_UPSTREAM))
UP := $(TOP_BUILD)/upstream
BUILD := $(TOP_BUILD)/port/$(PROFILE)

# Version and date of the header are MicroPython's, whatever repository and day this is: same inputs, same bytes.
export GIT_CEILING_DIRECTORIES := $(abspath $(UP))
DAY_ = 1744675200
DAY_next = 1757548800
export SOURCE_DATE_EPOCH := $(DAY_$(FLOE_UPSTREAM))

include $(UP)/micropython/py/mkenv.mk

QSTR_DEFS = port/qstrdefsport.h
vpath mpconfigport.h port
# A change of these is a reason to look for names, modules and root pointers in every file again.
QSTR_GLOBAL_DEPENDENCIES += port/mpconfigport.h port/modmachine.c port/modos.c port/modtime.c
MICROPY_ROM_TEXT_COMPRESSION = 1
include $(TOP)/py/py.mk
# By the name that vpath finds it under, or a switch that brings new names would not have them collected.
QSTR_GLOBAL_DEPENDENCIES += port/mpconfigport.h
include $(TOP)/extmod/extmod.mk
-include modules/lwip/lwip.mk

# ---- flags ----
INC := -nostdinc -isystem port/libc/include -isystem $(shell $(CC) -print-file-name=include) \
    -I. -Iport -I$(TOP) -I$(BUILD) -Iport/hal -Imodules/netdev -I$(UP) \
    -Imodules/lwip -Imodules/blkdev -I$(UP)/lwip/src/include
include modules/tls/tls.mk
CFLAGS_ARCH := -m64 -march=x86-64 -mcmodel=small -ffreestanding -fbuiltin -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
    -fno-asynchronous-unwind-tables -fno-delete-null-pointer-checks -fno-strict-aliasing
CFLAGS += $(INC) $(MBEDTLS_CFLAGS) $(CFLAGS_ARCH) -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Werror -Wpointer-arith \
    -ffunction-sections -fdata-sections -DNDEBUG -Os
CFLAGS_UPSTREAM = -w
# What runs per bytecode, per packet or per byte is compiled for speed.
FAST_OPT := -O2 -fno-tree-loop-distribute-patterns
CSUPEROPT = -O3

CFLAGS += -DFLOE_DEV=$(if $(filter dev,$(PROFILE)),1,0)

# ---- sources ----
SRC_PORT_C = \
    port/bootargs.c port/envfile.c port/gccollect.c port/interrupt.c port/main.c port/misc.c port/machine_rtc.c port/mod_floe.c port/mod_secret.c port/mphalport.c port/script.c port/softtimer.c \
    port/traceback.c port/boot/acpi.c port/boot/boot.c port/boot/paging.c port/monitor/idt.c \
    $(addprefix port/hal/, acpi.c clock.c cmdline.c console.c cpu.c entropy.c events.c fwcfg.c irq.c mem.c microvm.c panic.c pci.c power.c stop.c uart.c) \
    $(sort $(wildcard port/xen/*.c)) $(addprefix port/libc/, malloc.c stdlib.c string.c)
SRC_PORT_S = port/boot/entry.S port/monitor/monitor.S
ifeq ($(PROFILE),dev)
SRC_PORT_C += $(sort $(wildcard port/dev/*.c))
endif
SRC_MODULES_C = modules/netdev/netdev.c $(sort $(wildcard modules/blkdev/*.c modules/virtio/*.c modules/xen/*.c)) $(FLOE_LWIP_C) $(FLOE_TLS_C)
SRC_SHARED_C = shared/readline/readline.c shared/runtime/gchelper_generic.c shared/runtime/pyexec.c \
    shared/runtime/sys_stdio_mphal.c shared/timeutils/timeutils.c
# exp and sqrt are port/libc/stdlib.c's.
SRC_THIRDPARTY_C += $(filter-out %/exp.c,$(SRC_LIB_LIBM_DBL_C))

SRC_C = $(SRC_PORT_C) $(SRC_MODULES_C) $(SRC_SHARED_C)
SRC_QSTR += $(SRC_PORT_C) $(SRC_MODULES_C) $(SRC_SHARED_C)

# libdisk.a: what is different in an image with disks, and the file systems; linked before libfloe.a. Tables of upstream's
# name every file system there is, so that these few files are compiled a second time, with FLOE_DISK.
SRC_DISK_C = $(addprefix extmod/, modos.c modvfs.c vfs.c vfs_fat.c vfs_fat_diskio.c vfs_fat_file.c vfs_lfs.c) \
    $(addprefix lib/, littlefs/lfs2.c littlefs/lfs2_util.c littlefs/lfs1.c littlefs/lfs1_util.c \
    oofatfs/ff.c oofatfs/ffunicode.c) port/mod_floe.c
DISK_OBJ = $(addprefix $(BUILD)/disk/, $(SRC_DISK_C:.c=.o))
$(DISK_OBJ): CFLAGS += -DFLOE_DISK=1 $(foreach lfs, LFS1 LFS2, $(addprefix -D$(lfs)_NO_, MALLOC DEBUG WARN ERROR)) -DLFS1_NO_ASSERT
$(BUILD)/disk/lib/littlefs/lfs2.o: CFLAGS += -include port/lfsassert.h
$(BUILD)/disk/lib/littlefs/lfs2.o: port/lfsassert.h
$(filter-out %/mod_floe.o, $(DISK_OBJ)): CFLAGS += $(CFLAGS_UPSTREAM)

# libready.a: what is different in a ready kernel, which an app joins as .mpy files and without a compiler (ready.c).
SRC_READY_C = port/ready.c py/persistentcode.c $(if $(filter dev,$(PROFILE)),py/builtinhelp.c)
READY_OBJ = $(addprefix $(BUILD)/ready/, $(SRC_READY_C:.c=.o))
$(READY_OBJ): CFLAGS += -DFLOE_READY=1
$(filter-out %/ready.o, $(READY_OBJ)): CFLAGS += $(CFLAGS_UPSTREAM) -Dmp_parse_num_decimal=floe_ready_decimal -Dmp_frozen_names=floe_ready_names

# objmodule.o is compiled per app, with the app's module table.
OBJ = $(filter-out $(BUILD)/py/objmodule.o, $(PY_O))
OBJ += $(addprefix $(BUILD)/, $(SRC_C:.c=.o) $(SRC_PORT_S:.S=.o) $(SRC_THIRDPARTY_C:.c=.o))
OBJ += $(addprefix $(BUILD)/lwip/, $(LWIP_SRC_C:.c=.o)) $(addprefix $(BUILD)/mbedtls/, $(MBEDTLS_SRC_C:.c=.o))

FAST = $(addprefix $(BUILD)/, $(SRC_MODULES_C:.c=.o) port/libc/string.o port/libc/malloc.o port/hal/console.o port/hal/events.o \
    port/hal/clock.o py/runtime.o py/map.o py/obj.o py/objfun.o py/objlist.o py/objdict.o py/objstr.o py/objint.o \
    py/objgenerator.o py/objtype.o py/bc.o py/qstr.o py/nlr.o py/argcheck.o py/malloc.o py/stream.o py/scheduler.o \
    extmod/modselect.o extmod/modasyncio.o) $(addprefix $(BUILD)/lwip/, $(LWIP_SRC_C:.c=.o))
# ... but not what runs once, or once in a while.
COLD = $(addprefix $(BUILD)/, $(addprefix modules/, $(addprefix lwip/, mod_lan.o mod_netaddr.o mod_network.o mod_socket.o mod_sockopt.o netcfg.o netdns.o netrand.o sock_dns.o sock_group.o sock_listen.o) \
    $(addprefix virtio/, transport_mmio.o transport_pci.o virtio.o virtio_console.o virtio_console_ctrl.o virtio_rng.o) \
    $(addprefix xen/, xen_console.o xenbus.o netfront_xs.o blkfront_xs.o) $(addprefix tls/, mod_tls.o tls_ctx.o tls_text.o)) \
    $(addprefix lwip/src/core/, def.o dns.o init.o netif.o $(addprefix ipv4/, dhcp.o etharp.o icmp.o igmp.o ip4_frag.o) \
    $(addprefix ipv6/, icmp6.o ip6_addr.o ip6_frag.o mld6.o nd6.o)))
$(filter-out $(COLD), $(FAST)): CFLAGS += $(FAST_OPT)
# Or the compiler makes the malloc and memset of calloc into a call of calloc.
$(BUILD)/port/libc/malloc.o: CFLAGS += -fno-builtin-malloc
$(BUILD)/port/libc/string.o $(BUILD)/port/libc/stdlib.o: CFLAGS += -O2 -fno-builtin -fno-tree-loop-distribute-patterns
# Where containers compare and hash what they hold, upstream forgets to look at the stack: port/misc.c does first.
$(BUILD)/py/sequence.o $(BUILD)/py/objdict.o: CFLAGS += -Dmp_obj_equal=floe_obj_equal
$(BUILD)/py/objtuple.o: CFLAGS += -Dmp_unary_op=floe_unary_op
# Warnings are for our code; upstream's is not ours to change. libc/malloc.c includes dlmalloc.
$(PY_O) $(addprefix $(BUILD)/, $(SRC_SHARED_C:.c=.o) $(SRC_THIRDPARTY_C:.c=.o) port/libc/malloc.o) \
    $(addprefix $(BUILD)/lwip/, $(LWIP_SRC_C:.c=.o)) \
    $(addprefix $(BUILD)/mbedtls/, $(MBEDTLS_SRC_C:.c=.o)): CFLAGS += $(CFLAGS_UPSTREAM)

# Upstream's rules look at what is newer than genhdr/ only, and at no flags: not at a file that joins or leaves the lists
# with an old date, nor at another version unpacked, nor at another compiler. When what everything was made from is no more the same, start anew.
COMPILER := gcc $(shell $(CC) -dumpfullversion)
MADE_FROM := $(COMPILER) $(shell cat port/port.mk $(sort $(wildcard $(UP)/*/.floe-pin)) modules/*/*.mk | sha256sum) $(sort $(SRC_QSTR) $(OBJ))
ifneq ($(MADE_FROM),$(file <$(BUILD)/made-from))
$(shell rm -rf $(BUILD) && mkdir -p $(BUILD))
$(file >$(BUILD)/made-from,$(MADE_FROM))
endif

# ---- products ----
all: $(BUILD)/libfloe.a $(BUILD)/libdisk.a $(BUILD)/libready.a $(BUILD)/link.ld $(BUILD)/app.cflags $(BUILD)/app.ldflags $(BUILD)/compiler $(HEADER_BUILD)/moduledefs.collected $(TOP_BUILD)/mpy-cross

# machine.soft_reset is a SystemExit that can be told from sys.exit's.
ifeq ($(PROFILE),dev)
$(BUILD)/extmod/modmachine.o: CFLAGS += -Dmp_sys_exit_obj=floe_soft_reset_obj
endif

include $(TOP)/py/mkrules.mk
QSTR_GEN_CFLAGS += -DFLOE_DISK=1

$(BUILD)/lwip/%.o: $(UP)/lwip/%.c
	$(ECHO) "CC $<"
	$(Q)$(MKDIR) -p $(dir $@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/mbedtls/%.o: $(UP)/mbedtls/%.c
	$(ECHO) "CC $<"
	$(Q)$(MKDIR) -p $(dir $@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libfloe.a: $(OBJ) port/port.mk
	$(ECHO) "AR $@"
	$(Q)$(RM) -f $@
	$(Q)$(AR) rcsD $@ $(OBJ)

$(DISK_OBJ) $(READY_OBJ): | $(HEADER_BUILD)/qstrdefs.generated.h $(HEADER_BUILD)/mpversion.h $(OBJ_EXTRA_ORDER_DEPS)
$(BUILD)/disk/%.o: %.c
	$(ECHO) "CC $<"
	$(Q)$(MKDIR) -p $(dir $@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/ready/%.o: %.c
	$(ECHO) "CC $<"
	$(Q)$(MKDIR) -p $(dir $@)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
-include $(DISK_OBJ:.o=.d) $(READY_OBJ:.o=.d) $(patsubst %.c, $(BUILD)/lwip/%.d, $(LWIP_SRC_C)) $(patsubst %.c, $(BUILD)/mbedtls/%.d, $(MBEDTLS_SRC_C))

$(BUILD)/libdisk.a: $(DISK_OBJ) port/port.mk
	$(ECHO) "AR $@"
	$(Q)$(RM) -f $@
	$(Q)$(AR) rcsD $@ $(DISK_OBJ)

$(BUILD)/libready.a: $(READY_OBJ) port/port.mk
	$(ECHO) "AR $@"
	$(Q)$(RM) -f $@
	$(Q)$(AR) rcsD $@ $(READY_OBJ)

$(BUILD)/link.ld: port/boot/link.ld
	$(Q)$(CP) $< $@

$(BUILD)/app.cflags: port/port.mk $(lastword $(MAKEFILE_LIST))
	$(Q)echo '$(subst ",\",$(filter-out -Werror $(MBEDTLS_CFLAGS),$(CFLAGS))) $(CFLAGS_UPSTREAM)' > $@

$(BUILD)/app.ldflags: port/port.mk
	$(Q)echo '-nostdlib -static -no-pie -z max-page-size=4096 -Wl,-z,noexecstack -Wl,--gc-sections -Wl,--build-id=none -T $(BUILD)/link.ld' > $@

$(BUILD)/compiler: port/port.mk
	$(Q)echo '$(COMPILER)' > $@

$(TOP_BUILD)/mpy-cross:
	$(Q)$(MAKE) --no-print-directory -C $(TOP)/mpy-cross BUILD=../../../mpy-cross.d PROG=mpy-cross CFLAGS_EXTRA=-w >/dev/null
	$(Q)$(CP) $(TOP_BUILD)/mpy-cross.d/mpy-cross $@
