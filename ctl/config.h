/*
 * config: what postcellctl.conf says, checked.
 *
 * Every option has its row in config.c and its paragraph in postcellctl(8).
 * Without a file all has its default, and there is no directory to write to.
 */
#ifndef CTL_CONFIG_H
#define CTL_CONFIG_H

#include <stdbool.h>

#include "daemon/settings.h"
#include "lib/buf.h"

enum config_tls {
	CONFIG_TLS_STARTTLS, /* ldapi goes without */
	CONFIG_TLS_NONE
};

enum config_bind {
	CONFIG_BIND_SIMPLE,
	CONFIG_BIND_EXTERNAL
};

struct config_directory {
	struct setting_list uris; /* tried in this order; ldaps is as it says */
	const char *suffix;
	const char *people; /* DN; NULL: ou=people below the suffix */
	int bind;           /* enum config_bind */
	const char *bind_dn, *password_file;
	int tls;             /* enum config_tls */
	const char *ca_file; /* NULL: the system's */
};

struct config {
	const char *replica;
	const char *run_dir;
	struct config_directory directory;
	struct settings *settings; /* owned: the text of all above */
};

/*
 * Reads the file; `path` NULL: the default one, which may be missing. 0; or -1
 * with every fault as a line in errors.
 */
int config_read(struct config **out, const char *path, struct buf *errors);
void config_free(struct config **config);

/* The options' rows as text, for tests of the manual page. */
void config_describe(struct buf *out);

#endif
