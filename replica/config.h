/*
 * config: the settings of postcell-replicad, postcell-replicad.conf(5).
 */
#ifndef REPLICA_CONFIG_H
#define REPLICA_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

enum config_source {
	CONFIG_SOURCE_LDAP,
	CONFIG_SOURCE_LDIF
};

/* Strings are owned, and empty when not set. */
struct config {
	char *replica, *user, *suffix, *bind_dn, *password_file, *ca_file,
	    *certificate, *key, *account_filter, *ldif_file;
	char **providers; /* owned */
	size_t provider_count;
	int64_t map_size_max; /* MiB */
	int64_t stale_after;  /* s */
	int64_t prune_max;    /* percent */
	int64_t timeout;      /* s */
	int64_t source;       /* enum config_source */
	int64_t bind;         /* enum connection_bind */
	int64_t tls;          /* 1: StartTLS */
	int64_t log;          /* enum log_target */
	struct buf password;  /* what password_file holds */
};

/*
 * Reads the file. 0; or -1, and each error was printed to stderr as
 * FILE:LINE: REASON. config_free() in both cases.
 */
int config_load(struct config *config, const char *path);
void config_free(struct config *config);

#endif
