# What knows nothing of slapd is a library of its own, for tests.
LIBRARIES += libpostcell-keys
libpostcell-keys_SOURCES := slapd-overlay/keys.c slapd-overlay/memory.c slapd-overlay/scram.c
libpostcell-keys_PACKAGES := heimdal-krb5 libutf8proc
heimdal_LIBS := -lhdb -lasn1 -lhcrypto

slapd-overlay_TEST_USES := libpostcell-keys libpostcell
slapd-overlay_TEST_PACKAGES := $(libpostcell-keys_PACKAGES) $(libpostcell_PACKAGES)
slapd-overlay_TEST_LIBS := $(heimdal_LIBS)
