#include "kdc-plugin/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/slice.h"

#define OPTIONS_SECTION "postcell"
#define AT(member)      offsetof(struct options, member)

enum option_kind {
	OPTION_TEXT,   /* const char * */
	OPTION_LIST,   /* char ** */
	OPTION_NUMBER, /* int */
	OPTION_SWITCH  /* bool */
};

struct option_row {
	const char *name;
	enum option_kind kind;
	size_t offset;
	const char *fallback; /* NULL: made of others by options_complete() */
	int min, max;
};

static const struct option_row option_rows[] = {
	{ "replica", OPTION_TEXT, AT(replica), POSTCELL_STATEDIR "/replica", 0,
	    0 },
	{ "realm", OPTION_TEXT, AT(realm), NULL, 0, 0 },
	{ "lockout", OPTION_TEXT, AT(lockout), POSTCELL_RUNDIR "/lockout", 0,
	    0 },
	{ "lockout_limit", OPTION_NUMBER, AT(limit), "20", 0, 2000 },
	{ "lockout_window", OPTION_NUMBER, AT(window), "300", 1, 86400 },
	{ "lockout_time", OPTION_NUMBER, AT(lock), "900", 0, 31536000 },
	{ "ticket_life", OPTION_NUMBER, AT(ticket_life), "86400", 300,
	    31536000 },
	{ "renew_life", OPTION_NUMBER, AT(renew_life), "604800", 300,
	    31536000 },
	{ "uris", OPTION_LIST, AT(uris), "", 0, 0 },
	{ "suffix", OPTION_TEXT, AT(suffix), "", 0, 0 },
	{ "principals", OPTION_TEXT, AT(principals), NULL, 0, 0 },
	{ "bind", OPTION_TEXT, AT(bind), "simple", 0, 0 },
	{ "bind_dn", OPTION_TEXT, AT(bind_dn), "", 0, 0 },
	{ "password_file", OPTION_TEXT, AT(password_file), "", 0, 0 },
	{ "starttls", OPTION_SWITCH, AT(starttls), "yes", 0, 0 },
	{ "ca_file", OPTION_TEXT, AT(ca_file), "", 0, 0 },
	{ "certificate", OPTION_TEXT, AT(certificate), "", 0, 0 },
	{ "key", OPTION_TEXT, AT(key), "", 0, 0 },
	{ "timeout", OPTION_NUMBER, AT(timeout), "3", 1, 60 },
	{ "modify_passwords", OPTION_SWITCH, AT(modify_passwords), "yes", 0,
	    0 },
	{ "policy", OPTION_TEXT, AT(policy), "", 0, 0 },
};

static krb5_error_code
options_fault(krb5_context context, const char *name, const char *why)
{
	krb5_set_error_message(
	    context, EINVAL, "[" OPTIONS_SECTION "] %s: %s", name, why);
	return EINVAL;
}

static krb5_error_code
options_number(krb5_context context, const struct option_row *row, int *number)
{
	const char *text = krb5_config_get_string_default(
	    context, NULL, row->fallback, OPTIONS_SECTION, row->name, NULL);
	uint64_t value = 0;

	if (slice_to_uint(slice_from(text), (uint64_t)row->max, &value) < 0 ||
	    value < (uint64_t)row->min)
		return options_fault(
		    context, row->name, "not a number within its bounds");
	*number = (int)value;
	return 0;
}

static krb5_error_code
options_switch(krb5_context context, const struct option_row *row, bool *out)
{
	const char *text = krb5_config_get_string_default(
	    context, NULL, row->fallback, OPTIONS_SECTION, row->name, NULL);

	*out = slice_is_nocase(slice_from(text), "yes");
	if (!*out && !slice_is_nocase(slice_from(text), "no"))
		return options_fault(context, row->name, "neither yes nor no");
	return 0;
}

static krb5_error_code
options_read_row(
    krb5_context context, const struct option_row *row, struct options *options)
{
	void *target = (char *)options + row->offset;
	const char *text;

	switch (row->kind) {
	case OPTION_TEXT:
		text = krb5_config_get_string_default(context, NULL,
		    row->fallback, OPTIONS_SECTION, row->name, NULL);
		if (row->fallback) {
			*(const char **)target = text;
			return 0;
		}
		*(char **)target = text ? strdup(text) : NULL;
		return text && !*(char **)target ? krb5_enomem(context) : 0;
	case OPTION_LIST:
		*(char ***)target = krb5_config_get_strings(
		    context, NULL, OPTIONS_SECTION, row->name, NULL);
		return 0;
	case OPTION_NUMBER:
		return options_number(context, row, target);
	case OPTION_SWITCH:
		return options_switch(context, row, target);
	}
	return 0;
}

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
		return options_fault(
		    context, "replica", "not an absolute path");
	if (options->lockout[0] != '/')
		return options_fault(
		    context, "lockout", "not an absolute path");
	if (count > OPTIONS_URIS_MAX)
		return options_fault(context, "uris", "too many");
	if (count > 0 && options->suffix[0] == '\0')
		return options_fault(context, "suffix", "missing beside uris");
	if (!external && strcmp(options->bind, "simple") != 0)
		return options_fault(
		    context, "bind", "neither simple nor external");
	if (!external && options->bind_dn[0] != '\0' &&
	    options->password_file[0] == '\0')
		return options_fault(
		    context, "password_file", "missing beside bind_dn");
	if ((options->certificate[0] == '\0') != (options->key[0] == '\0'))
		return options_fault(
		    context, "certificate", "certificate and key go together");
	return 0;
}

krb5_error_code
options_read(krb5_context context, struct options *options)
{
	krb5_error_code code = 0;

	*options = (struct options){ 0 };
	for (size_t i = 0; code == 0 && i < ARRAY_SIZE(option_rows); i++)
		code = options_read_row(context, &option_rows[i], options);
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
	static const char *const kinds[] = { "text", "list", "number",
		"switch" };

	for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++) {
		const struct option_row *row = &option_rows[i];

		(void)buf_printf(out, "%s %s %s", row->name, kinds[row->kind],
		    row->fallback && row->fallback[0] != '\0' ? row->fallback
							      : "-");
		if (row->kind == OPTION_NUMBER)
			(void)buf_printf(out, " %d..%d", row->min, row->max);
		(void)buf_add_char(out, '\n');
	}
}
