/*
 * config: the settings of postcell-replicad, postcell-replicad.conf(5).
 */
#ifndef REPLICA_CONFIG_H
#define REPLICA_CONFIG_H

#include "daemon/settings.h"
#include "lib/buf.h"

enum config_source {
	CONFIG_SOURCE_LDAP,
	CONFIG_SOURCE_LDIF
};

/* decider { }: this host decides as well, when it has a bind_dn. */
struct config_decider {
	const char *bind_dn, *password_file, *on_move;
	long delay;        /* ms */
	long return_after; /* s */
	struct buf password;
};

/* locator { }: the file of the realm's servers, when it has a realm. */
struct config_locator {
	const char *realm, *file;
	struct setting_list dns_servers;
};

/* metrics { }: for Prometheus, with a port. */
struct config_metrics {
	const char *address; /* numeric */
	long port;           /* 0: none */
	long stale_time;     /* s without a provider until we are ill */
};

/* Text is never NULL, and empty when not set; the settings own it. */
struct config {
	struct settings *settings; /* owned */
	const char *replica, *user, *suffix, *bind_dn, *password_file, *ca_file,
	    *certificate, *key, *account_filter, *ldif_file;
	struct setting_list providers;
	long map_size_max; /* MiB */
	long stale_after;  /* s */
	long prune_max;    /* percent */
	long timeout;      /* s */
	bool keys;
	int source;          /* enum config_source */
	int bind;            /* enum connection_bind */
	int tls;             /* enum config_tls */
	int log;             /* enum log_target */
	int log_level;       /* enum log_level */
	struct buf password; /* what password_file holds */
	struct config_decider decider;
	struct config_locator locator;
	struct config_metrics metrics;
};

enum config_tls {
	CONFIG_TLS_NONE,
	CONFIG_TLS_STARTTLS
};

/*
 * Reads the file. 0; or -1 with the reasons in errors, a line each, with
 * FILE:LINE where there is one. config_free() in both cases.
 */
int config_load(struct config *config, const char *path, struct buf *errors);
void config_free(struct config *config);
/* The options as settings_describe() writes them. */
void config_describe(struct buf *out);

#endif
