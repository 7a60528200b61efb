LIBRARIES += libpostcell-daemon
libpostcell-daemon_SOURCES := $(sort $(wildcard daemon/*.c))
libpostcell-daemon_PACKAGES := libconfuse libsystemd libevent libcares

daemon_TEST_USES := libpostcell-daemon libpostcell
daemon_TEST_PACKAGES := $(libpostcell-daemon_PACKAGES) $(libpostcell_PACKAGES)
