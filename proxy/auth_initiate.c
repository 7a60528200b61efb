#include "proxy/auth_initiate.h"

#include "proxy/sasl.h"

/* ---- a message further ---- */

static bool
keeps_proofs(const struct config *config)
{
	return config_uses_source(config, CONFIG_SOURCE_FORWARDED) ||
	       config_uses_source(config, CONFIG_SOURCE_S4U2PROXY);
}

/* The client is who it says: what it showed may be of use. */
static void
keep_proof(struct auth_exchange *exchange)
{
	const struct gss_proof *proof = gss_exchange_proof(exchange->gss);

	buf_add_slice(
	    &exchange->proof.client, gss_exchange_name(exchange->gss));
	buf_add_slice(&exchange->service, buf_slice(&proof->service));
	if (proof->forwardable)
		buf_add_slice(
		    &exchange->proof.evidence, buf_slice(&proof->evidence));
	buf_add_slice(&exchange->proof.tgt, buf_slice(&proof->forwarded));
}

void
auth_step(struct auth_exchange *exchange, struct slice message)
{
	struct auth_channel *channel = exchange->channel;
	struct buf out = buf_bounded(SASL_MESSAGE_SIZE_MAX);
	struct auth_answer answer = { .id = exchange->id };
	const char *why = "";

	switch (gss_exchange_step(exchange->gss, message, &out, &why)) {
	case GSS_CONTINUE:
		answer.verdict = AUTH_CHALLENGE;
		answer.message = buf_slice(&out);
		break;
	case GSS_FINISHED:
		answer.verdict = exchange->is_proof ? AUTH_KEPT : AUTH_ACCEPTED;
		answer.name = gss_exchange_name(exchange->gss);
		answer.authorise = gss_exchange_authorise(exchange->gss);
		break;
	case GSS_FAILED:
		answer.verdict = AUTH_REFUSED;
		answer.why = slice_from(why);
		break;
	}
	auth_answer(channel, &answer);
	if (answer.verdict == AUTH_KEPT) {
		keep_proof(exchange);
		auth_exchange_keep(exchange);
	} else if (answer.verdict != AUTH_CHALLENGE) {
		auth_exchange_free(exchange);
	}
	buf_wipe(&out);
}

/* ---- with clients ---- */

void
auth_take_accept(
    struct auth_channel *channel, const struct auth_request *request)
{
	const struct config *config = channel->auth->config;
	bool is_proof = keeps_proofs(config);
	struct auth_exchange *exchange;
	const char *why = "GSSAPI is not configured";
	struct gss_exchange *gss = config->auth.keytab
				       ? gss_accept_new(config->auth.keytab,
					     request->service, is_proof, &why)
				       : NULL;

	if (!gss) {
		auth_refuse(channel, request->id, AUTH_UNAVAILABLE, why);
		return;
	}
	exchange = auth_exchange_new(channel, request);
	exchange->gss = gss;
	exchange->is_proof = is_proof;
	auth_step(exchange, request->message);
}

/* ---- with back ends ---- */

static void
fail(struct auth_exchange *exchange, enum auth_verdict verdict, const char *why)
{
	auth_refuse(exchange->channel, exchange->id, verdict, why);
	auth_exchange_free(exchange);
}

static void
begin(struct auth_exchange *exchange, gss_cred_id_t credential,
    struct slice authorise)
{
	const char *why = "";

	exchange->gss = gss_initiate_new(
	    credential, buf_string(&exchange->server), authorise, &why);
	if (exchange->gss)
		auth_step(exchange, slice_from(""));
	else
		fail(exchange, AUTH_UNAVAILABLE, why);
}

static void
on_own(void *context, const struct ticket_held *held, const char *why)
{
	struct auth_exchange *exchange = context;

	exchange->ticket = NULL;
	if (held)
		begin(exchange, held->credential,
		    buf_slice(&exchange->authorise));
	else
		fail(exchange, AUTH_UNAVAILABLE, why);
}

/* By the proxy's own principal, for the user. */
static void
initiate_own(struct auth_exchange *exchange)
{
	const struct config_login *login = exchange->login;
	struct ticket_waiter *waiter =
	    ticket_get(exchange->channel->auth->tickets, login->keytab,
		login->user, buf_string(&exchange->server), on_own, exchange);

	/* Without one the answer was there, and the exchange may be gone. */
	if (waiter)
		exchange->ticket = waiter;
}

/* The user's principal says whose mailbox it is. */
static void
on_user(void *context, enum kerberos_result result, struct slice text)
{
	struct auth_exchange *exchange = context;
	const struct auth *auth = exchange->channel->auth;
	struct auth_answer answer = { .id = exchange->id,
		.verdict = result == KERBEROS_REFUSED && !exchange->verified
			       ? AUTH_REFUSED
			       : AUTH_UNAVAILABLE,
		.why = text };

	exchange->user_ticket = NULL;
	if (result != KERBEROS_GOOD) {
		auth_answer(exchange->channel, &answer);
		auth_exchange_free(exchange);
	} else if (credential_read(
		       &exchange->credential, auth->kerberos, text) != 0) {
		fail(exchange, AUTH_UNAVAILABLE, "the ticket cannot be used");
	} else {
		begin(exchange, exchange->credential.gss, slice_from(""));
	}
}

static void
initiate_as_user(struct auth_exchange *exchange,
    const struct auth_exchange *kept, enum kerberos_way way, uint64_t stamp)
{
	const struct auth *auth = exchange->channel->auth;
	struct kerberos_question question = kept->proof;
	struct user_ticket_waiter *waiter;

	/* All but these two is borrowed from what is kept. */
	question.way = way;
	question.server = exchange->server;
	question.keytab = buf_bounded(KERBEROS_NAME_MAX);
	if (way == KERBEROS_EVIDENCE) {
		buf_add_string(&question.keytab, auth->config->auth.keytab);
		question.tgt = buf_bounded(KERBEROS_TICKET_MAX);
	}
	exchange->verified = kept->verified;
	waiter = user_ticket_get(auth->user_tickets, &question,
	    buf_string(&kept->service), stamp, on_user, exchange);
	/* Without one the answer was there, and the exchange may be gone. */
	if (waiter)
		exchange->user_ticket = waiter;
	buf_free(&question.keytab);
}

/* Is that good for it? */
static bool
suits(const struct auth_exchange *kept, enum config_source source)
{
	switch (source) {
	case CONFIG_SOURCE_PASSWORD:
		return kept && kept->proof.password.size > 0;
	case CONFIG_SOURCE_FORWARDED:
		return kept && kept->proof.tgt.size > 0;
	case CONFIG_SOURCE_S4U2PROXY:
		return kept && kept->proof.evidence.size > 0;
	case CONFIG_SOURCE_PROXY:
		return true;
	case CONFIG_SOURCE_COUNT:
		break;
	}
	return false;
}

/* What the user could do about it. */
static void
say_unsuited(struct auth_exchange *exchange, bool for_other)
{
	const struct config_login *login = exchange->login;
	struct auth_answer answer = { .id = exchange->id,
		.verdict = AUTH_UNSUITED,
		.why = slice_from("nothing that the client gave is a source"),
		.message = slice_from("Its server needs a password.") };

	if (for_other) {
		answer.why = slice_from("the mailbox is another user's");
		answer.message = slice_from("Nobody but its user may.");
	} else if (config_login_uses(login, CONFIG_SOURCE_S4U2PROXY)) {
		answer.why = slice_from("the client's ticket is no evidence");
		answer.message =
		    slice_from("Its server needs a forwardable ticket.");
	} else if (config_login_uses(login, CONFIG_SOURCE_FORWARDED)) {
		answer.why = slice_from("the client forwarded no ticket");
		answer.message =
		    slice_from("Its server needs a forwarded ticket.");
	}
	auth_answer(exchange->channel, &answer);
	auth_exchange_free(exchange);
}

/*
 * By the first source that serves. The mailbox is another's where the relay
 * names who comes for it; of a password that was kept it is the user's own.
 */
static void
initiate_by_ticket(struct auth_exchange *exchange,
    const struct auth_exchange *kept, uint64_t stamp)
{
	static const enum kerberos_way ways[] = {
		[CONFIG_SOURCE_PASSWORD] = KERBEROS_PASSWORD,
		[CONFIG_SOURCE_FORWARDED] = KERBEROS_FORWARDED,
		[CONFIG_SOURCE_S4U2PROXY] = KERBEROS_EVIDENCE,
	};
	const struct config_login *login = exchange->login;
	bool for_other =
	    exchange->name.size > 0 && !(kept && kept->proof.password.size > 0);

	for (size_t i = 0; i < login->source_count; i++) {
		enum config_source source = login->sources[i];

		if (!suits(kept, source))
			continue;
		if (source == CONFIG_SOURCE_PROXY) {
			initiate_own(exchange);
			return;
		}
		if (kept && !for_other) {
			initiate_as_user(exchange, kept, ways[source], stamp);
			return;
		}
	}
	say_unsuited(exchange, for_other);
}

/*
 * Nobody has said yet whether the password is right: the KDC will, and no other
 * way leads in, though the account may have moved to another section's pool.
 */
static void
initiate_unverified(struct auth_exchange *exchange,
    const struct auth_exchange *kept, uint64_t stamp)
{
	if (config_login_uses(exchange->login, CONFIG_SOURCE_PASSWORD))
		initiate_as_user(exchange, kept, KERBEROS_PASSWORD, stamp);
	else
		fail(exchange, AUTH_UNAVAILABLE, "the account has moved");
}

void
auth_take_initiate(
    struct auth_channel *channel, const struct auth_request *request)
{
	const char *service = gss_service_name(request->service);
	const struct auth_exchange *kept =
	    request->kept ? auth_exchange_find(channel, request->kept) : NULL;
	struct auth_exchange *exchange = auth_exchange_new(channel, request);
	const struct config_login *login = exchange->login;
	bool own = login && login->as == CONFIG_LOGIN_GSSAPI;
	bool by_ticket = login && login->as == CONFIG_LOGIN_TICKET;

	if (!service || (!own && !by_ticket) || !channel->auth->user_tickets ||
	    request->host.size == 0 ||
	    slice_find(request->host, '\0') != SIZE_MAX) {
		fail(exchange, AUTH_UNAVAILABLE,
		    "GSSAPI is not configured for this server");
		return;
	}
	if (request->kept && (!kept || !kept->timer)) {
		fail(exchange, AUTH_UNAVAILABLE, "nothing of it is kept here");
		return;
	}
	buf_printf(&exchange->server, "%s/", service);
	buf_add_slice(&exchange->server, request->host);
	if (kept && kept->proof.password.size > 0 && !kept->verified)
		initiate_unverified(exchange, kept, request->stamp);
	else if (own)
		initiate_own(exchange);
	else
		initiate_by_ticket(exchange, kept, request->stamp);
}
