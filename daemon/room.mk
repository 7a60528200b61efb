LIBRARIES += libpostcell-daemon
libpostcell-daemon_SOURCES := $(sort $(wildcard daemon/*.c))
libpostcell-daemon_PACKAGES := libconfuse libsystemd
