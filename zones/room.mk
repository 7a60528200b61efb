LIBRARIES += libpostcell-zones
libpostcell-zones_SOURCES := $(filter-out zones/main.c,$(sort $(wildcard zones/*.c)))
libpostcell-zones_PACKAGES := libevent libcares ldns openssl jansson

# Of the replica's daemon the vectors of CSNs are used, nothing else.
PROGRAMS += postcell-zoned
postcell-zoned_SOURCES := zones/main.c
postcell-zoned_USES := libpostcell-zones libpostcell-replica-daemon \
	libpostcell-replica-reader libpostcell-daemon libpostcell
postcell-zoned_PACKAGES := libevent libcares ldns openssl jansson lmdb \
	libconfuse libsystemd libxxhash libutf8proc
install_sbin += postcell-zoned

zones_TEST_USES := $(postcell-zoned_USES)
zones_TEST_PACKAGES := $(postcell-zoned_PACKAGES)
