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

/* What a client showed with its name; all of it owned. */
struct gss_proof {
	struct buf service;   /* principal that its ticket is for */
	struct buf evidence;  /* its AP-REQ (RFC 4120 section 5.5.1) */
	bool forwardable;     /* its ticket */
	struct buf forwarded; /* octets of the TGT that it forwarded, or none;
				 secret (credential.h) */
};

/*
 * Any key of the keytab that is for this service is taken. keeps: what the
 * client shows will be asked for. NULL with why.
 */
struct gss_exchange *gss_accept_new(const char *keytab,
    enum service_kind service, bool keeps, const char **why);
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

/* The same, where it keeps. */
const struct gss_proof *gss_exchange_proof(const struct gss_exchange *exchange);

/*
 * The AP-REQ in the first token of a context, RFC 4121 section 4.1; empty where
 * it is another mechanism's, or malformed.
 */
struct slice gss_token_request(struct slice token);

/* "imap", "pop", "smtp", "sieve": in principals; NULL for others. */
const char *gss_service_name(enum service_kind service);

#endif
