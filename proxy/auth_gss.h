/*
 * auth_gss: one exchange of SASL's GSSAPI (RFC 4752), as a server towards a
 * client with a ticket, or as a client towards a back end.
 *
 * Nothing in here waits: accepting needs the keytab alone, and initiating a
 * ticket that is there (auth_ticket.h). The only security layer is none, since
 * TLS is around it all. One thread.
 */
#ifndef PROXY_AUTH_GSS_H
#define PROXY_AUTH_GSS_H

#include <gssapi/gssapi.h>

#include "lib/buf.h"
#include "lib/service.h"

struct gss_exchange;

enum gss_result {
	GSS_CONTINUE, /* out is for the other side */
	GSS_FINISHED,
	GSS_FAILED /* see why */
};

/* Any key of the keytab that is for this service is taken. NULL with why. */
struct gss_exchange *gss_accept_new(
    const char *keytab, enum service_kind service, const char **why);
/* credential is borrowed until the first step is done; authorise is copied. */
struct gss_exchange *gss_initiate_new(gss_cred_id_t credential,
    const char *server, struct slice authorise, const char **why);
void gss_exchange_free(struct gss_exchange **exchange);

/* message: of the other side; empty at the beginning of an initiation. why:
 * lives as long as the exchange. */
enum gss_result gss_exchange_step(struct gss_exchange *exchange,
    struct slice message, struct buf *out, const char **why);

/* FINISHED, of an acceptor: principal, and authzid or empty. Borrowed. */
struct slice gss_exchange_name(const struct gss_exchange *exchange);
struct slice gss_exchange_authorise(const struct gss_exchange *exchange);
/* The uid that the principal stands for where no account has it as its own:
 * the same name without the service's realm. Empty for principals of another
 * realm, or of several parts. Borrowed. */
struct slice gss_exchange_uid(const struct gss_exchange *exchange);

/* "imap", "pop", "smtp", "sieve": in principals; NULL for others. */
const char *gss_service_name(enum service_kind service);

#endif
