/*
 * hdb: what libhdb looks for when a database is called `postcell:`.
 */
#include <errno.h>

#include "kdc-plugin/backend.h"

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
	.version = HDB_INTERFACE_VERSION,
	.init = hdb_postcell_init,
	.fini = hdb_postcell_fini,
	.prefix = "postcell",
	.create = backend_create,
};
