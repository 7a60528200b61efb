/*
 * credential: a ticket as octets, as GSSAPI takes it, and back.
 *
 * Octets are those of krb5_store_creds, session key included: secret. Caches
 * are of the kind MEMORY. Nothing in here waits. One thread.
 */
#ifndef PROXY_CREDENTIAL_H
#define PROXY_CREDENTIAL_H

#include <time.h>

#include <gssapi/gssapi.h>
#include <krb5.h>

#include "lib/buf.h"

struct credential {
	krb5_ccache cache; /* owned; NULL: none */
	gss_cred_id_t gss; /* owned, with the cache */
	time_t ends_at;
};

/* A cache with the ticket alone; free it even after a failure. */
krb5_error_code credential_cache(
    struct credential *credential, krb5_context kerberos, struct slice octets);
/* The same, and for GSSAPI to initiate with. */
krb5_error_code credential_read(
    struct credential *credential, krb5_context kerberos, struct slice octets);
void credential_free(struct credential *credential, krb5_context kerberos);

/* Adds its octets to `out`, which is bounded. */
krb5_error_code credential_write(struct buf *out, krb5_creds *credentials);

/* Adds the octets of the TGT that a client forwarded. 0, or -1 for none. */
int credential_write_forwarded(struct buf *out, gss_cred_id_t forwarded);

#endif
