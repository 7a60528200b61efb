/*
 * options: the settings of postcell_hdb.so, postcell_hdb(5): the section
 * [postcell] of krb5.conf or kdc.conf.
 */
#ifndef KDC_PLUGIN_OPTIONS_H
#define KDC_PLUGIN_OPTIONS_H

#include <stdbool.h>

#include <krb5.h>

#include "lib/buf.h"

#define OPTIONS_URIS_MAX 16

/*
 * Text is never NULL; it is borrowed from the context's configuration, but for
 * what is marked.
 */
struct options {
	const char *replica, *lockout, *suffix, *bind, *bind_dn, *password_file,
	    *ca_file, *certificate, *key, *policy;
	char *realm;      /* owned */
	char *principals; /* owned: base of service principals */
	char **uris;      /* owned; ends in NULL */
	bool starttls;
	bool modify_passwords; /* by RFC 3062, so that the directory makes keys
				*/
	int limit;             /* failures, 0: none */
	int window, lock;      /* s */
	int ticket_life, renew_life; /* s */
	int timeout;                 /* s */
};

/* 0; or a Kerberos error, with its text set. options_free() in both cases. */
krb5_error_code options_read(krb5_context context, struct options *options);
void options_free(krb5_context context, struct options *options);

/* A line for each option: name, kind, default, bounds. */
void options_describe(struct buf *out);

#endif
