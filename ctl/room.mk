# All but main is a library, so that tests can take the parts one by one.
LIBRARIES += libpostcell-ctl
libpostcell-ctl_SOURCES := $(filter-out ctl/main.c,$(sort $(wildcard ctl/*.c)))
libpostcell-ctl_PACKAGES := ldap lber jansson openssl libutf8proc

PROGRAMS += postcellctl
postcellctl_SOURCES := ctl/main.c
postcellctl_USES := libpostcell-ctl libpostcell-replica-daemon \
	libpostcell-replica-reader libpostcell-daemon libpostcell
postcellctl_PACKAGES := ldap lber lmdb jansson openssl libconfuse libsystemd \
	$(libpostcell_PACKAGES)
install_sbin += postcellctl

ctl_TEST_USES := $(postcellctl_USES)
ctl_TEST_PACKAGES := $(postcellctl_PACKAGES)
