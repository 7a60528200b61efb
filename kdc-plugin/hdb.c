/*
 * hdb: what Heimdal looks for by name: the database `postcell:`, the plug-in
 * for PACs, and the one that judges passwords.
 */
#include <errno.h>

#include "kdc-plugin/backend.h"
#include "kdc-plugin/pac.h"
#include "kdc-plugin/quality.h"

/* It names what krb5.h declares, and includes nothing. */
#include <kadm5/kadm5-pwcheck.h>

#define HDB_EXPORT __attribute__((visibility("default")))

static krb5_error_code
hdb_postcell_init(krb5_context context, void **data)
{
	*data = NULL;
	/* Heimdal's loader takes any interface that is not older than its own;
	 * with another one every call would go wrong. */
	if (hdb_interface_version == HDB_INTERFACE_VERSION)
		return 0;
	krb5_set_error_message(context, EINVAL,
	    "postcell_hdb was built for interface %d of libhdb, this is %d",
	    HDB_INTERFACE_VERSION, hdb_interface_version);
	return EINVAL;
}

static void
hdb_postcell_fini(void *data)
{
	(void)data;
}

extern struct hdb_method hdb_postcell_interface;

HDB_EXPORT struct hdb_method hdb_postcell_interface = {
#if HDB_INTERFACE_VERSION == 10
	.version = HDB_INTERFACE_VERSION,
#else
	.minor_version = HDB_INTERFACE_VERSION,
#endif
	.init = hdb_postcell_init,
	.fini = hdb_postcell_fini,
	.prefix = "postcell",
	.create = backend_create,
};

#if HDB_INTERFACE_VERSION == 10
extern krb5plugin_windc_ftable windc;

HDB_EXPORT krb5plugin_windc_ftable windc = {
	.minor_version = KRB5_WINDC_PLUGIN_MINOR,
	.init = hdb_postcell_init,
	.fini = hdb_postcell_fini,
	.pac_generate = pac_generate,
	.pac_verify = pac_verify,
	.client_access = pac_client_access,
};
#endif

static const struct kadm5_pw_policy_check_func hdb_policies[] = {
	{ "directory", quality_check },
	{ NULL, NULL },
};

extern struct kadm5_pw_policy_verifier kadm5_password_verifier;

HDB_EXPORT struct kadm5_pw_policy_verifier kadm5_password_verifier = {
	.name = "postcell",
	.version = KADM5_PASSWD_VERSION_V1,
	.vendor = "Postcell",
	.funcs = hdb_policies,
};
