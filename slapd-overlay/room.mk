# What knows nothing of slapd is a library of its own, for tests.
LIBRARIES += libpostcell-keys
libpostcell-keys_SOURCES := slapd-overlay/keys.c slapd-overlay/memory.c slapd-overlay/scram.c
libpostcell-keys_PACKAGES := heimdal-krb5 libutf8proc
heimdal_LIBS := -lhdb -lasn1 -lhcrypto

slapd-overlay_TEST_USES := libpostcell-keys libpostcell
slapd-overlay_TEST_PACKAGES := $(libpostcell-keys_PACKAGES) $(libpostcell_PACKAGES)
slapd-overlay_TEST_LIBS := $(heimdal_LIBS)

# The module is built against the headers of the slapd that is installed;
# `make SLAPD_OVERLAY=no` leaves it out. Sanitizers cannot be loaded into slapd.
SLAPD_OVERLAY ?= yes
SLAPD_HEADERS ?= build/slapd-headers
ifeq ($(SLAPD_OVERLAY)$(SAN),yes)
MODULES += postcell.so
postcell.so_SOURCES := $(addprefix slapd-overlay/,module.c config.c directory.c \
	hashes.c hosts.c login.c made.c map.c migrate.c names.c passwords.c scheme.c \
	shown.c standing.c turns.c)
postcell.so_USES := libpostcell-keys libpostcell
postcell.so_PACKAGES := $(libpostcell-keys_PACKAGES) $(libpostcell_PACKAGES)
postcell.so_LIBS := $(heimdal_LIBS)
# Threads have destructors of its, so it stays where it is once it is loaded.
postcell.so_LDFLAGS := -Wl,-z,nodelete
postcell.so_CFLAGS := -Islapd-overlay $(addprefix -isystem $(SLAPD_HEADERS)/,. include slapd)
install_slapd += postcell.so

$(addprefix $(BUILD)/,$(patsubst %.c,%.o,$(postcell.so_SOURCES))): | $(SLAPD_HEADERS)/version
$(SLAPD_HEADERS)/version:
	tools/slapd-headers $(SLAPD_HEADERS)
else ifeq ($(SLAPD_OVERLAY),yes)
PLAIN_MODULES += postcell.so
endif
