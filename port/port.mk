# SPDX-License-Identifier: MIT
# The port archive: make -f port/port.mk PROFILE=sealed|dev, from the top folder. Makes build/port/PROFILE/:
# libfloe.a, genhdr/, link.ld, app.cflags, app.ldflags, compiler; and build/mpy-cross. FLOE_UPSTREAM=NAME: from the sources
# of that release in port/upstream.toml, all in build/NAME. Everything an image may need is
# compiled here once; freezing an app is a link against it (tools/floe/build/pipeline.py). Every path is relative: the folder
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
include modules/blkdev/blkdev.mk
include modules/dns/dns.mk
include modules/family/family.mk
include modules/handoff/handoff.mk
include modules/http/http.mk
include modules/link/link.mk
include modules/lwip/lwip.mk
include modules/packet/packet.mk
include modules/resp/resp.mk
include modules/virtio/virtio.mk
include modules/xen/xen.mk
include port/hal/hal.mk

# ---- flags ----
OWN_HEADERS := $(shell $(CC) -print-file-name=include)
INC := -nostdinc -isystem port/libc/include -isystem $(OWN_HEADERS) \
    -I. -Iport -I$(TOP) -I$(BUILD) -Iport/hal -Imodules/netdev -I$(UP) \
    -Imodules/lwip -Imodules/blkdev -Imodules/family -Imodules/handoff -I$(UP)/lwip/src/include
include modules/tls/tls.mk
CFLAGS_ARCH := -m64 -march=x86-64 -mcmodel=small -ffreestanding -fbuiltin -fpie -fvisibility=hidden -fcf-protection=none \
    -fstack-protector-strong -mstack-protector-guard=global \
    -fno-asynchronous-unwind-tables -fno-delete-null-pointer-checks -fno-strict-aliasing
CFLAGS += $(INC) $(MBEDTLS_CFLAGS) $(CFLAGS_ARCH) -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Werror -Wpointer-arith \
    -ffunction-sections -fdata-sections -DNDEBUG -Os
CFLAGS_UPSTREAM = -w
FAST_OPT := -O2 -fno-tree-loop-distribute-patterns
CSUPEROPT = -O3

CFLAGS += -DFLOE_DEV=$(if $(filter dev,$(PROFILE)),1,0)

# ---- sources ----
SRC_PORT_C = \
    $(addprefix port/, bootargs.c envfile.c formatfloat.c gccollect.c input.c interrupt.c main.c misc.c machine_rtc.c mod_floe.c \
    mod_secret.c mod_timelimit.c mod_vm.c mphalport.c script.c signals.c softtimer.c traceback.c) \
    $(FLOE_HAL_C) $(sort $(wildcard port/boot/*.c port/libc/*.c port/monitor/*.c port/xen/*.c))
SRC_PORT_S = port/boot/entry.S port/monitor/monitor.S
ifeq ($(PROFILE),dev)
SRC_PORT_C += $(sort $(wildcard port/dev/*.c))
endif
SRC_MODULES_C = modules/netdev/netdev.c $(FLOE_BLKDEV_C) $(FLOE_HTTP_C) $(FLOE_VIRTIO_C) $(FLOE_XEN_C) $(FLOE_LWIP_C) $(FLOE_RESP_C) $(FLOE_TLS_C) \
    $(FLOE_DNS_C) $(FLOE_FAMILY_C) $(FLOE_HANDOFF_C) $(FLOE_LINK_C) $(FLOE_PACKET_C)
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
# port/formatfloat.c takes the place of upstream's.
OBJ = $(filter-out $(addprefix $(BUILD)/py/, objmodule.o formatfloat.o), $(PY_O))
OBJ += $(addprefix $(BUILD)/, $(SRC_C:.c=.o) $(SRC_PORT_S:.S=.o) $(SRC_THIRDPARTY_C:.c=.o))
OBJ += $(addprefix $(BUILD)/lwip/, $(LWIP_SRC_C:.c=.o)) $(addprefix $(BUILD)/mbedtls/, $(MBEDTLS_SRC_C:.c=.o))

# What runs per bytecode, per frame, per request or per byte is compiled for speed: ours by the folders' lists.
FLOE_FAST = port/libc/malloc.c port/libc/string.c modules/netdev/netdev.c $(FLOE_HAL_FAST) $(FLOE_BLKDEV_FAST) $(FLOE_HTTP_FAST) \
    $(FLOE_VIRTIO_FAST) $(FLOE_XEN_FAST) $(FLOE_LWIP_FAST) $(FLOE_RESP_FAST) $(FLOE_TLS_FAST) $(FLOE_DNS_FAST) $(FLOE_HANDOFF_FAST) $(FLOE_LINK_FAST) $(FLOE_PACKET_FAST)
PY_FAST = $(addprefix py/, runtime.o map.o obj.o objfun.o objlist.o objdict.o objstr.o objint.o objgenerator.o objtype.o \
    bc.o qstr.o nlr.o argcheck.o malloc.o stream.o scheduler.o) extmod/modselect.o extmod/modasyncio.o
$(addprefix $(BUILD)/, $(FLOE_FAST:.c=.o) $(PY_FAST)) $(addprefix $(BUILD)/lwip/, $(LWIP_FAST:.c=.o)): CFLAGS += $(FAST_OPT)
# Per call of a function: what these have on the stack is of the bytecode's own size, and a canary costs fib() 5 %.
$(addprefix $(BUILD)/py/, vm.o objfun.o): CFLAGS += -fno-stack-protector
# Or the compiler makes the malloc and memset of calloc into a call of calloc.
$(BUILD)/port/libc/malloc.o: CFLAGS += -fno-builtin-malloc
$(BUILD)/port/libc/string.o: CFLAGS += -O2 -fno-builtin -fno-tree-loop-distribute-patterns
$(BUILD)/port/libc/stdlib.o: CFLAGS += -fno-builtin
# What runs once at the start, or as text for people comes and goes, for size alone.
FLOE_SMALL = $(wildcard port/boot/*.c) port/bootargs.c port/envfile.c port/formatfloat.c port/hal/fwcfg.c port/hal/pci.c \
    port/libc/decimal.c port/machine_rtc.c py/objcomplex.c py/parsenum.c shared/readline/readline.c
$(addprefix $(BUILD)/, $(FLOE_SMALL:.c=.o)): CFLAGS += -Oz
# In 1.25 repr() asks for 16 digits; later versions ask for what gives the number back, as port/formatfloat.c does.
$(addprefix $(BUILD)/py/, objfloat.o objcomplex.o): CFLAGS += -Dmp_format_float=floe_format_repr
# Where containers compare and hash what they hold, upstream forgets to look at the stack: port/misc.c does first.
$(BUILD)/py/sequence.o $(BUILD)/py/objdict.o: CFLAGS += -Dmp_obj_equal=floe_obj_equal
$(BUILD)/py/objtuple.o: CFLAGS += -Dmp_unary_op=floe_unary_op
# What upstream takes for a frame with many variables: port/misc.c leaves more of them to the stack.
$(BUILD)/py/objfun.o: CFLAGS += -Dm_malloc_maybe=floe_frame_alloc
# Warnings are for our code; upstream's is not ours to change. libc/malloc.c includes dlmalloc.
$(PY_O) $(addprefix $(BUILD)/, $(SRC_SHARED_C:.c=.o) $(SRC_THIRDPARTY_C:.c=.o) port/libc/malloc.o) \
    $(addprefix $(BUILD)/lwip/, $(LWIP_SRC_C:.c=.o)) \
    $(addprefix $(BUILD)/mbedtls/, $(MBEDTLS_SRC_C:.c=.o)): CFLAGS += $(CFLAGS_UPSTREAM)

# Upstream's rules look at what is newer than genhdr/ only, and at no flags: not at a file that joins or leaves the lists
# with an old date, nor at another version unpacked, nor at another compiler. When what everything was made from is no more the same, start anew.
COMPILER := gcc $(shell $(CC) -dumpfullversion)
MADE_FROM := $(COMPILER) $(shell cat port/port.mk $(sort $(wildcard $(UP)/*/.floe-pin)) modules/*/*.mk port/*/*.mk | sha256sum) $(sort $(SRC_QSTR) $(OBJ))
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
	$(Q)$(OBJCOPY) -D --wildcard --strip-symbol='*.c' $@ # the names of source files stand in the link map

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
	$(Q)echo '$(subst ",\",$(filter-out -Werror $(MBEDTLS_CFLAGS),$(subst $(OWN_HEADERS),@own-headers@,$(CFLAGS)))) $(CFLAGS_UPSTREAM)' > $@

$(BUILD)/app.ldflags: port/port.mk
	$(Q)echo '-nostdlib -static-pie -Wl,-z,pack-relative-relocs -z max-page-size=4096 -Wl,-z,noexecstack -Wl,--gc-sections -Wl,--build-id=none -T $(BUILD)/link.ld' > $@

$(BUILD)/compiler: port/port.mk
	$(Q)echo '$(COMPILER)' > $@

# Without the C library's shared files: a wheel brings it to machines that have others.
$(TOP_BUILD)/mpy-cross: port/port.mk
	$(Q)$(RM) -f $(TOP_BUILD)/mpy-cross.d/mpy-cross
	$(Q)$(MAKE) --no-print-directory -C $(TOP)/mpy-cross BUILD=../../../mpy-cross.d PROG=mpy-cross CFLAGS_EXTRA=-w LDFLAGS_EXTRA=-static >/dev/null
	$(Q)$(CP) $(TOP_BUILD)/mpy-cross.d/mpy-cross $@
