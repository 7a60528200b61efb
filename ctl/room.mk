PROGRAMS += postcellctl
postcellctl_SOURCES := $(sort $(wildcard ctl/*.c))
postcellctl_USES := libpostcell-replica-reader libpostcell
postcellctl_PACKAGES := lmdb $(libpostcell_PACKAGES) jansson libconfuse
install_sbin += postcellctl
