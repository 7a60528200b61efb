/*
 * probe: tries one service of one host, once.
 *
 * Connects, does TLS (implicit or STARTTLS, the certificate verified as for
 * sessions), waits for the greeting of the service's protocol, and where
 * credentials are given logs in as a session would, by the same machine
 * (back.h); at IMAP it also selects INBOX, which needs the mail store. What
 * serves no mail is asked one question (query.h).
 *
 * Runs on the event loop and never blocks.
 */
#ifndef PROXY_PROBE_H
#define PROXY_PROBE_H

#include <event2/event.h>
#include <openssl/ssl.h>

#include "lib/service.h"
#include "proxy/observe.h"
#include "proxy/resolve.h"
#include "proxy/sasl.h"

enum probe_depth {
	PROBE_CONNECT, /* and the greeting, if it comes without TLS */
	PROBE_TLS,     /* as far as one gets without an account */
	PROBE_LOGIN
};

/* Called from the loop, once; the probe may be freed there. why: static text.
 */
typedef void probe_done(
    void *context, enum probe_result result, const char *why);

/* Borrowed for as long as the probe lives, but for the struct itself. */
struct probe_request {
	enum service_kind kind;
	enum service_tls tls;
	bool proxy_header; /* the host wants one of the PROXY protocol */
	uint16_t port;
	const char *name; /* what we call ourselves */
	const char *host; /* name in the certificate */
	const struct address_list *addresses;
	enum probe_depth depth;
	SSL_CTX *context;
	const struct credentials *credentials; /* with PROBE_LOGIN */
	bool one_family;    /* no way there is our own lack, not its */
	int64_t timeout_ms; /* for all of it */
};

struct probe;

/* NULL without memory. */
struct probe *probe_new(struct event_base *base,
    const struct probe_request *request, probe_done *done, void *context);
/* done will not be called. */
void probe_free(struct probe **probe);

/* Whether anything can be learnt of such a service. */
bool probe_can(enum service_kind kind);
/* Whether there is a machine that can log in there. */
bool probe_can_log_in(enum service_kind kind);

#endif
