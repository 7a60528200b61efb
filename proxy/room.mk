LIBRARIES += libpostcell-proxy
libpostcell-proxy_SOURCES := $(filter-out proxy/main.c,$(sort $(wildcard proxy/*.c)))
libpostcell-proxy_PACKAGES := libevent libcares openssl jansson libseccomp ldap lber libxxhash heimdal-gssapi heimdal-krb5

PROGRAMS += postcell-proxyd
install_sbin += postcell-proxyd
postcell-proxyd_SOURCES := proxy/main.c
postcell-proxyd_USES := libpostcell-proxy libpostcell-replica-connection libpostcell-replica-reader libpostcell-daemon libpostcell
postcell-proxyd_PACKAGES := libevent libcares openssl jansson libseccomp ldap lber lmdb libconfuse libsystemd libxxhash libutf8proc heimdal-gssapi heimdal-krb5
postcell-proxyd_LIBS := -lasn1

proxy_TEST_USES := $(postcell-proxyd_USES)
proxy_TEST_PACKAGES := $(postcell-proxyd_PACKAGES)
proxy_TEST_LIBS := $(postcell-proxyd_LIBS)
proxy_TEST_SOURCES := tests/proxy/machine.c
