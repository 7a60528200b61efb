# The back end of the KDC; what its parts need is linked in, and of its symbols
# only those that Heimdal looks for can be seen.
LIBRARIES += libpostcell-kdc
libpostcell-kdc_SOURCES := $(filter-out kdc-plugin/hdb.c kdc-plugin/locate.c,$(sort $(wildcard kdc-plugin/*.c)))
libpostcell-kdc_PACKAGES := heimdal-krb5 ldap lber lmdb

# Sanitizers cannot be loaded into the KDC and its clients.
ifeq ($(SAN),)
MODULES += postcell_hdb.so postcell_locate.so
install_kdc += postcell_hdb.so
install_krb5 += postcell_locate.so
else
PLAIN_MODULES += postcell_hdb.so postcell_locate.so
endif
postcell_hdb.so_SOURCES := kdc-plugin/hdb.c
postcell_hdb.so_USES := libpostcell-kdc libpostcell-replica-daemon \
	libpostcell-replica-reader libpostcell
postcell_hdb.so_PACKAGES := heimdal-krb5 ldap lber lmdb $(libpostcell_PACKAGES)
postcell_hdb.so_LIBS := -lhdb -lasn1 -lcom_err
postcell_hdb.so_LDFLAGS := -Wl,-z,defs

kdc-plugin_TEST_USES := $(postcell_hdb.so_USES)
kdc-plugin_TEST_PACKAGES := $(postcell_hdb.so_PACKAGES)
kdc-plugin_TEST_LIBS := $(postcell_hdb.so_LIBS)

# For clients, who shall not need the directory's libraries for it.
postcell_locate.so_SOURCES := kdc-plugin/locate.c
postcell_locate.so_USES := libpostcell-kdc libpostcell
postcell_locate.so_PACKAGES := heimdal-krb5 $(libpostcell_PACKAGES)
postcell_locate.so_LDFLAGS := -Wl,-z,defs
