#include "kdc-plugin/pac.h"

#if HDB_INTERFACE_VERSION == 10

#	include <stdlib.h>
#	include <string.h>

#	include "kdc-plugin/lookup.h"
#	include "kdc-plugin/options.h"
#	include "kdc-plugin/principal.h"
#	include "lib/timestamp.h"
#	include "replica/clock.h"

#	define PAC_SERVER_CHECKSUM 6
#	define PAC_KDC_CHECKSUM    7
#	define PAC_LOGON_NAME      10
#	define PAC_OURS            0x6c6c6563 /* outside of what MS-PAC uses */
/* FILETIME counts tenths of microseconds since 1601. */
#	define PAC_EPOCH INT64_C(116444736000000000)

krb5_error_code
pac_generate(void *table, krb5_context context, struct hdb_entry_ex *client,
    krb5_pac *pac)
{
	char text[] = "postcell";
	krb5_data data = { .length = sizeof(text) - 1, .data = text };
	krb5_error_code code = krb5_pac_init(context, pac);

	(void)table;
	(void)client;
	/* Names and signatures follow when it is signed. */
	return code == 0 ? krb5_pac_add_buffer(context, *pac, PAC_OURS, &data)
			 : code;
}

static bool
pac_key_signs(krb5_context context, const Key *key,
    const krb5_data *signed_data, Checksum *checksum)
{
	krb5_crypto crypto = NULL;
	bool signs;

	if (krb5_crypto_init(context, &key->key, 0, &crypto) != 0)
		return false;
	signs = krb5_verify_checksum(context, crypto, KRB5_KU_OTHER_CKSUM,
		    signed_data->data, signed_data->length, checksum) == 0;
	(void)krb5_crypto_destroy(context, crypto);
	return signs;
}

static bool
pac_keys_sign(krb5_context context, const Keys *keys,
    const krb5_data *signed_data, Checksum *checksum)
{
	for (unsigned i = 0; i < keys->len; i++)
		if (pac_key_signs(
			context, &keys->val[i], signed_data, checksum))
			return true;
	return false;
}

/* By any key that the realm has had, as long as tickets live. */
static bool
pac_realm_signs(krb5_context context, const hdb_entry *krbtgt,
    const krb5_data *signed_data, Checksum *checksum)
{
	const HDB_extension *old =
	    hdb_find_extension(krbtgt, choice_HDB_extension_data_hist_keys);

	if (pac_keys_sign(context, &krbtgt->keys, signed_data, checksum))
		return true;
	for (unsigned i = 0; old && i < old->data.u.hist_keys.len; i++)
		if (pac_keys_sign(context, &old->data.u.hist_keys.val[i].keys,
			signed_data, checksum))
			return true;
	return false;
}

static uint64_t
pac_number(const void *data, size_t size)
{
	const unsigned char *octets = data;
	uint64_t number = 0;

	for (size_t i = size; i-- > 0;)
		number = number << 8 | octets[i];
	return number;
}

/* The KDC's signature stands over the server's, which stands over the rest. */
static krb5_error_code
pac_check_signature(krb5_context context, krb5_pac pac, const hdb_entry *krbtgt)
{
	krb5_data server = { 0 }, kdc = { 0 }, signed_data;
	krb5_error_code code =
	    krb5_pac_get_buffer(context, pac, PAC_SERVER_CHECKSUM, &server);
	Checksum checksum = { 0 };

	if (code == 0)
		code =
		    krb5_pac_get_buffer(context, pac, PAC_KDC_CHECKSUM, &kdc);
	if (code == 0 && (server.length <= 4 || kdc.length <= 4))
		code = KRB5KRB_AP_ERR_BAD_INTEGRITY;
	if (code == 0) {
		signed_data = (krb5_data){ .length = server.length - 4,
			.data = (char *)server.data + 4 };
		checksum.cksumtype = (CKSUMTYPE)pac_number(kdc.data, 4);
		checksum.checksum.data = (char *)kdc.data + 4;
		checksum.checksum.length = kdc.length - 4;
		if (!krb5_checksum_is_keyed(context, checksum.cksumtype) ||
		    !pac_realm_signs(context, krbtgt, &signed_data, &checksum))
			code = KRB5KRB_AP_ERR_BAD_INTEGRITY;
	}
	krb5_data_free(&server);
	krb5_data_free(&kdc);
	return code;
}

/*
 * Of a ticket that somebody can open everything may have been altered but what
 * the PAC holds: its end too. So the age counts from the login.
 */
static krb5_error_code
pac_check_age(krb5_context context, krb5_pac pac, int64_t now_us, int life_s)
{
	krb5_data name = { 0 };
	krb5_error_code code =
	    krb5_pac_get_buffer(context, pac, PAC_LOGON_NAME, &name);
	int64_t login_us = 0;

	if (code == 0 && name.length < 8)
		code = KRB5KRB_AP_ERR_BAD_INTEGRITY;
	if (code == 0)
		login_us = ((int64_t)pac_number(name.data, 8) - PAC_EPOCH) / 10;
	if (code == 0 && now_us - login_us > life_s * TIMESTAMP_SECOND)
		code = KRB5KRB_AP_ERR_TKT_EXPIRED;
	krb5_data_free(&name);
	return code;
}

/* The user as the replica has them now. */
static krb5_error_code
pac_check_user(krb5_context context, const struct options *options,
    krb5_const_principal user, int64_t now_us)
{
	struct principal_wish wish = { .name = user, .now_us = now_us };
	struct lookup found = lookup_empty();
	const char *why = "";
	struct replica *replica = lookup_replica(options->replica, &why);
	krb5_error_code code;
	hdb_entry entry = { 0 };
	struct lookup_name name;

	code = lookup_name_make(context, user, options->realm, &name);
	if (code == 0 && (!replica || lookup_principal(replica, &name, false,
					  &found, &why) != REPLICA_FOUND))
		code = KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN;
	if (code == 0)
		code = principal_fill(
		    context, options, &found.account, &wish, &entry);
	if (code == 0 && (entry.flags.locked_out || entry.flags.invalid ||
			     !entry.flags.client || !entry.flags.forwardable))
		code = KRB5KDC_ERR_CLIENT_REVOKED;
	if (code == 0 && entry.valid_end &&
	    *entry.valid_end < now_us / TIMESTAMP_SECOND)
		code = KRB5KDC_ERR_NAME_EXP;
	free_hdb_entry(&entry);
	lookup_free(&found);
	lookup_name_free(&name);
	return code;
}

krb5_error_code
/* Heimdal says what its arguments are. */
/* NOLINTNEXTLINE(misc-misplaced-const) */
pac_verify(void *table, krb5_context context, const krb5_principal user,
    /* NOLINTNEXTLINE(misc-misplaced-const) */
    const krb5_principal proxy, struct hdb_entry_ex *client,
    struct hdb_entry_ex *server, struct hdb_entry_ex *krbtgt, krb5_pac *pac)
{
	int64_t now_us = clock_realtime_us();
	krb5_error_code code =
	    pac_check_signature(context, *pac, &krbtgt->entry);
	struct options options;

	(void)table;
	(void)client;
	(void)server;
	if (code != 0 || !proxy)
		return code;
	code = options_read(context, &options);
	if (code == 0)
		code = pac_check_age(context, *pac, now_us, options.renew_life);
	if (code == 0)
		code = pac_check_user(context, &options, user, now_us);
	options_free(context, &options);
	return code;
}

krb5_error_code
pac_client_access(void *table, krb5_context context,
    krb5_kdc_configuration *config, hdb_entry_ex *client,
    const char *client_name, hdb_entry_ex *server, const char *server_name,
    KDC_REQ *request, METHOD_DATA *data)
{
	(void)table;
	(void)context;
	(void)config;
	(void)client_name;
	(void)server;
	(void)server_name;
	(void)request;
	(void)data;
	if (client && client->entry.flags.locked_out)
		return KRB5KDC_ERR_CLIENT_REVOKED;
	/* 0 would keep the KDC from looking at the other flags. */
	return KRB5_PLUGIN_NO_HANDLE;
}

#endif
