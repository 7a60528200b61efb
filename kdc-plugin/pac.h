/*
 * pac: what makes S4U2Proxy work with a user's own ticket, and safe.
 *
 * Heimdal 7 takes a ticket as evidence only if the KDC signed it, and knows
 * that by a PAC (MS-PAC) that a plug-in vouches for. It checks the service's
 * own signature alone, so whoever has the service's key could write a PAC for
 * anybody: here the KDC's signature is checked as well (buffers 6 and 7), and
 * that the user may still act. Heimdal's master does all of this by itself.
 */
#ifndef KDC_PLUGIN_PAC_H
#define KDC_PLUGIN_PAC_H

#include "kdc-plugin/compat.h"

#if HDB_INTERFACE_VERSION == 10

#	include <kdc.h>
#	include <krb5/windc_plugin.h>

/* Functions of a windc plug-in; what comes first is its table. */
krb5_error_code pac_generate(void *table, krb5_context context,
    struct hdb_entry_ex *client, krb5_pac *pac);
/*
 * 0: the KDC signed it. proxy: who delegates; NULL for the PAC of a TGT. With a
 * proxy the user is looked up too, for evidence outlives a status.
 */
krb5_error_code pac_verify(void *table, krb5_context context,
    /* Heimdal says what its arguments are. */
    /* NOLINTNEXTLINE(misc-misplaced-const) */
    const krb5_principal user, const krb5_principal proxy,
    struct hdb_entry_ex *client, struct hdb_entry_ex *server,
    struct hdb_entry_ex *krbtgt, krb5_pac *pac);
/* After a password was accepted: says what keeps an account out. */
krb5_error_code pac_client_access(void *table, krb5_context context,
    krb5_kdc_configuration *config, hdb_entry_ex *client,
    const char *client_name, hdb_entry_ex *server, const char *server_name,
    KDC_REQ *request, METHOD_DATA *data);

#endif
#endif
