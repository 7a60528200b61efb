#include "proxy/credential.h"

#include <errno.h>
#include <string.h>

#include <gssapi/gssapi_krb5.h>

krb5_error_code
credential_cache(
    struct credential *credential, krb5_context kerberos, struct slice octets)
{
	krb5_storage *storage =
	    krb5_storage_from_readonly_mem(octets.data, octets.size);
	krb5_creds credentials = { 0 };
	krb5_error_code code = ENOMEM;

	*credential = (struct credential){ .gss = GSS_C_NO_CREDENTIAL };
	if (storage)
		code = krb5_ret_creds(storage, &credentials);
	if (code == 0)
		code = krb5_cc_new_unique(
		    kerberos, "MEMORY", NULL, &credential->cache);
	if (code == 0)
		code = krb5_cc_initialize(
		    kerberos, credential->cache, credentials.client);
	if (code == 0)
		code = krb5_cc_store_cred(
		    kerberos, credential->cache, &credentials);
	if (code == 0)
		credential->ends_at = credentials.times.endtime;
	krb5_free_cred_contents(kerberos, &credentials);
	if (storage)
		krb5_storage_free(storage);
	return code;
}

krb5_error_code
credential_read(
    struct credential *credential, krb5_context kerberos, struct slice octets)
{
	krb5_error_code code = credential_cache(credential, kerberos, octets);
	OM_uint32 minor;

	if (code == 0 && gss_krb5_import_cred(&minor, credential->cache, NULL,
			     NULL, &credential->gss) != GSS_S_COMPLETE)
		code = KRB5_CC_NOTFOUND;
	return code;
}

void
credential_free(struct credential *credential, krb5_context kerberos)
{
	OM_uint32 minor;

	if (credential->gss != GSS_C_NO_CREDENTIAL)
		(void)gss_release_cred(&minor, &credential->gss);
	if (credential->cache)
		(void)krb5_cc_destroy(kerberos, credential->cache);
	*credential = (struct credential){ .gss = GSS_C_NO_CREDENTIAL };
}

krb5_error_code
credential_write(struct buf *out, krb5_creds *credentials)
{
	krb5_storage *storage = krb5_storage_emem();
	krb5_data octets = { 0 };
	krb5_error_code code = ENOMEM;

	if (storage)
		code = krb5_store_creds(storage, credentials);
	if (code == 0)
		code = krb5_storage_to_data(storage, &octets);
	if (code == 0 && buf_add(out, octets.data, octets.length) < 0)
		code = ENOMEM;
	if (octets.data)
		explicit_bzero(octets.data, octets.length);
	krb5_data_free(&octets);
	if (storage)
		krb5_storage_free(storage);
	return code;
}

/* The first ticket of the cache that is a realm's own. */
static int
write_tgt(struct buf *out, krb5_context kerberos, krb5_ccache cache)
{
	krb5_cc_cursor cursor;
	krb5_creds credentials;
	int result = -1;

	if (krb5_cc_start_seq_get(kerberos, cache, &cursor) != 0)
		return -1;
	while (result < 0 &&
	       krb5_cc_next_cred(kerberos, cache, &cursor, &credentials) == 0) {
		if (krb5_principal_is_krbtgt(kerberos, credentials.server) &&
		    credential_write(out, &credentials) == 0)
			result = 0;
		krb5_free_cred_contents(kerberos, &credentials);
	}
	(void)krb5_cc_end_seq_get(kerberos, cache, &cursor);
	return result;
}

int
credential_write_forwarded(struct buf *out, gss_cred_id_t forwarded)
{
	krb5_context kerberos = NULL;
	krb5_ccache cache = NULL;
	OM_uint32 minor;
	int result = -1;

	if (krb5_init_context(&kerberos) != 0)
		return -1;
	if (krb5_cc_new_unique(kerberos, "MEMORY", NULL, &cache) == 0 &&
	    gss_krb5_copy_ccache(&minor, forwarded, cache) == GSS_S_COMPLETE)
		result = write_tgt(out, kerberos, cache);
	if (cache)
		(void)krb5_cc_destroy(kerberos, cache);
	krb5_free_context(kerberos);
	return result;
}
