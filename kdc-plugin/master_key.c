#include "kdc-plugin/master_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kdc-plugin/lookup.h"
#include "kdc-plugin/principal.h"
#include "replica/clock.h"

#define MASTER_KEY_PREFIX "postcell:"

/* Of a database of ours; NULL where none is configured. */
static const char *
master_key_file(krb5_context context, struct hdb_dbinfo *info)
{
	struct hdb_dbinfo *each = NULL;

	while ((each = hdb_dbinfo_get_next(info, each)) != NULL) {
		const char *name = hdb_dbinfo_get_dbname(context, each);

		if (name && strncmp(name, MASTER_KEY_PREFIX,
				sizeof(MASTER_KEY_PREFIX) - 1) == 0)
			return hdb_dbinfo_get_mkey_file(context, each);
	}
	return NULL;
}

static krb5_error_code
master_key_open(krb5_context context, const struct options *options,
    const struct account *account, hdb_master_key key)
{
	struct principal_wish wish = { .now_us = clock_realtime_us() };
	HDB scratch = { .hdb_master_key = key, .hdb_master_key_set = true };
	hdb_entry entry = { 0 };
	krb5_error_code code =
	    principal_fill(context, options, account, &wish, &entry);

	if (code == 0)
		code = principal_unseal(context, &scratch, NULL, &entry, NULL);
	free_hdb_entry(&entry);
	return code;
}

static krb5_error_code
master_key_try(krb5_context context, const struct options *options,
    const char *file, hdb_master_key key, bool *opens)
{
	const char *why = "";
	struct replica *replica = lookup_replica(options->replica, &why);
	struct lookup_name name = { NULL, slice_from("") };
	struct lookup found = lookup_empty();
	krb5_error_code code = 0;

	if (asprintf(
		&name.text, "krbtgt/%s@%s", options->realm, options->realm) < 0)
		return krb5_enomem(context);
	if (replica && lookup_principal(replica, &name, false, &found, &why) ==
			   REPLICA_FOUND) {
		code = master_key_open(context, options, &found.account, key);
		*opens = code == 0;
	}
	if (code != 0)
		krb5_set_error_message(context, code,
		    "the master key in %s does not open the keys of %s", file,
		    name.text);
	lookup_free(&found);
	free(name.text);
	lookup_close();
	return code;
}

krb5_error_code
master_key_check(
    krb5_context context, const struct options *options, bool *opens)
{
	struct hdb_dbinfo *info = NULL;
	hdb_master_key key = NULL;
	const char *file;
	krb5_error_code code = hdb_get_dbinfo(context, &info);

	*opens = false;
	if (code != 0)
		return code;
	file = master_key_file(context, info);
	if (file) {
		code = hdb_read_master_key(context, file, &key);
		if (code != 0)
			krb5_set_error_message(context, code,
			    "the master key cannot be read from %s", file);
		else
			code =
			    master_key_try(context, options, file, key, opens);
	}
	if (key)
		hdb_free_master_key(context, key);
	hdb_free_dbinfo(context, &info);
	return code;
}
