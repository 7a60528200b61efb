# The reader is what other programs link; the daemon's parts are a library of
# their own so that tests can take them one by one. The connection to directory
# servers serves the proxy's auth processes as well.
LIBRARIES += libpostcell-replica-reader libpostcell-replica-daemon libpostcell-replica-connection
libpostcell-replica-reader_SOURCES := replica/reader.c replica/shortcut.c replica/layout.c \
	replica/clock.c replica/metrics.c
libpostcell-replica-reader_PACKAGES := lmdb libxxhash

libpostcell-replica-daemon_SOURCES := replica/config.c replica/csn.c replica/decide.c replica/decider.c \
	replica/entry.c replica/hook.c replica/intake.c replica/intake_end.c \
	replica/ldif.c replica/ldif_source.c replica/locator.c replica/map.c \
	replica/metrics_process.c replica/providers.c \
	replica/realm.c replica/shortcut_make.c replica/status.c replica/store.c \
	replica/store_meta.c replica/store_names.c replica/store_shortcut.c \
	replica/sync_value.c replica/syncrepl.c replica/watch.c
libpostcell-replica-connection_SOURCES := replica/connection.c replica/connection_tls.c
libpostcell-replica-connection_PACKAGES := ldap lber libevent openssl
libpostcell-replica-daemon_PACKAGES := ldap lber lmdb libevent openssl libxxhash

PROGRAMS += postcell-replicad
postcell-replicad_SOURCES := replica/main.c
postcell-replicad_USES := libpostcell-replica-daemon libpostcell-replica-connection libpostcell-replica-reader \
	libpostcell-daemon libpostcell
postcell-replicad_PACKAGES := $(libpostcell-replica-daemon_PACKAGES) \
	$(libpostcell_PACKAGES) $(libpostcell-daemon_PACKAGES)
install_sbin += postcell-replicad

replica_TEST_SOURCES := tests/replica/scratch.c
replica_TEST_USES := $(postcell-replicad_USES)
replica_TEST_PACKAGES := $(postcell-replicad_PACKAGES)
