#include "kdc-plugin/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kdc-plugin/rows.h"
#include "lib/slice.h"

#define AT(member) offsetof(struct options, member)

static const struct row option_rows[] = {
	{ "replica", ROW_TEXT, AT(replica), POSTCELL_STATEDIR "/replica", 0,
	    0 },
	{ "realm", ROW_OWN, AT(realm), NULL, 0, 0 },
	{ "lockout", ROW_TEXT, AT(lockout), POSTCELL_RUNDIR "/lockout", 0, 0 },
	{ "lockout_limit", ROW_NUMBER, AT(limit), "20", 0, 2000 },
	{ "lockout_window", ROW_NUMBER, AT(window), "300", 1, 86400 },
	{ "lockout_time", ROW_NUMBER, AT(lock), "900", 0, 31536000 },
	{ "ticket_life", ROW_NUMBER, AT(ticket_life), "86400", 300, 31536000 },
	{ "renew_life", ROW_NUMBER, AT(renew_life), "604800", 300, 31536000 },
	{ "uris", ROW_LIST, AT(uris), "", 0, 0 },
	{ "suffix", ROW_TEXT, AT(suffix), "", 0, 0 },
	{ "principals", ROW_OWN, AT(principals), NULL, 0, 0 },
	{ "bind", ROW_TEXT, AT(bind), "simple", 0, 0 },
	{ "bind_dn", ROW_TEXT, AT(bind_dn), "", 0, 0 },
	{ "password_file", ROW_TEXT, AT(password_file), "", 0, 0 },
	{ "starttls", ROW_SWITCH, AT(starttls), "yes", 0, 0 },
	{ "ca_file", ROW_TEXT, AT(ca_file), "", 0, 0 },
	{ "certificate", ROW_TEXT, AT(certificate), "", 0, 0 },
	{ "key", ROW_TEXT, AT(key), "", 0, 0 },
	{ "timeout", ROW_NUMBER, AT(timeout), "3", 1, 60 },
	{ "modify_passwords", ROW_SWITCH, AT(modify_passwords), "yes", 0, 0 },
	{ "policy", ROW_TEXT, AT(policy), "", 0, 0 },
};

/* What follows from other options where nothing is said. */
static krb5_error_code
options_complete(krb5_context context, struct options *options)
{
	krb5_error_code code = 0;

	if (!options->realm)
		code = krb5_get_default_realm(context, &options->realm);
	if (code == 0 && !options->principals &&
	    asprintf(&options->principals, "ou=principals,%s",
		options->suffix) < 0) {
		options->principals = NULL;
		code = krb5_enomem(context);
	}
	return code;
}

static krb5_error_code
options_check(krb5_context context, const struct options *options)
{
	bool external = strcmp(options->bind, "external") == 0;
	size_t count = 0;

	while (options->uris && options->uris[count])
		count++;
	if (options->replica[0] != '/')
		return rows_fault(context, "replica", "not an absolute path");
	if (options->lockout[0] != '/')
		return rows_fault(context, "lockout", "not an absolute path");
	if (count > OPTIONS_URIS_MAX)
		return rows_fault(context, "uris", "too many");
	if (count > 0 && options->suffix[0] == '\0')
		return rows_fault(context, "suffix", "missing beside uris");
	if (!external && strcmp(options->bind, "simple") != 0)
		return rows_fault(
		    context, "bind", "neither simple nor external");
	if (!external && options->bind_dn[0] != '\0' &&
	    options->password_file[0] == '\0')
		return rows_fault(
		    context, "password_file", "missing beside bind_dn");
	if ((options->certificate[0] == '\0') != (options->key[0] == '\0'))
		return rows_fault(
		    context, "certificate", "certificate and key go together");
	return 0;
}

krb5_error_code
options_read(krb5_context context, struct options *options)
{
	krb5_error_code code;

	*options = (struct options){ 0 };
	code =
	    rows_read(context, option_rows, ARRAY_SIZE(option_rows), options);
	if (code == 0)
		code = options_complete(context, options);
	return code == 0 ? options_check(context, options) : code;
}

void
options_free(krb5_context context, struct options *options)
{
	(void)context;
	free(options->realm);
	free(options->principals);
	if (options->uris)
		krb5_config_free_strings(options->uris);
	*options = (struct options){ 0 };
}

void
options_describe(struct buf *out)
{
	rows_describe(option_rows, ARRAY_SIZE(option_rows), out);
}
