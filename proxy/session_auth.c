#include "proxy/session_auth.h"

#include <stdlib.h>

#include <xxhash.h>

#include "proxy/principal_owner.h"
#include "proxy/session_back.h"
#include "proxy/session_failure.h"
#include "proxy/session_front.h"
#include "proxy/tls.h"

/* An entry that no directory has: a bind as nobody takes its time as well. */
#define NOBODY_DN "cn=nobody"

/* ---- verdicts ---- */

void
session_forget_verdict(struct session *session)
{
	struct login *login = session->login;

	if (login->guessed_key != 0)
		failures_take_back(session->relay->settings->failures,
		    login->guessed_key, login->guessed_since_s);
	login->guessed_key = 0;
	verdict_cancel(&login->verdict);
	verdict_cancel(&login->kept);
	if (login->granted)
		credentials_wipe(login->granted);
	free(login->granted);
	login->granted = NULL;
	login->verified = false;
	login->accepting = false;
}

/* What the back end is to be told; false when there is nothing to tell. */
static bool
take_grant(struct session *session, const struct auth_answer *answer)
{
	struct login *login = session->login;
	struct credentials *client = &login->front.credentials;
	struct credentials *granted;

	if (answer->login == AUTH_LOGIN_PASSWORD)
		return client->password.size > 0;
	granted = calloc(1, sizeof(*granted));
	if (!granted)
		abort();
	credentials_init(granted);
	granted->mechanism =
	    answer->login == AUTH_LOGIN_MASTER ? SASL_PLAIN : SASL_GSSAPI;
	buf_add_slice(&granted->authorise, credentials_owner(client));
	buf_add_slice(&granted->user, answer->name);
	buf_add_slice(&granted->password, answer->password);
	login->granted = granted;
	return true;
}

static void
take_verification(struct session *session)
{
	session->login->verified = true;
	relay_count(session->relay, session->listener, STATS_VERIFIED, 1);
}

static void take_principal(
    struct session *session, const struct auth_answer *answer);

static void
take_acceptance(struct session *session, const struct auth_answer *answer)
{
	struct login *login = session->login;

	if (login->accepting) {
		login->accepting = false;
		take_principal(session, answer);
		return;
	}
	if (answer->login != AUTH_LOGIN_TICKET)
		take_verification(session);
	if (take_grant(session, answer))
		session_log_in(session);
	else
		session_refuse_unavailable(session,
		    "The server of the mailbox is not set up right.",
		    "no login section says how to log in without a password");
}

/* An auth process speaks with the client. */
static void
pass_challenge(struct session *session, struct slice message)
{
	struct login *login = session->login;

	login->challenged = true;
	front_challenge(&login->front, message, &login->front_out);
	session_enter(session, SESSION_FRONT);
	if (!session_flush_front(session))
		return;
	session_arm(session);
	session_resume_front(session);
}

static void
on_verdict(void *context, const struct auth_answer *answer)
{
	struct session *session = context;
	struct login *login = session->login;
	struct buf why = buf_bounded(256);

	buf_add_slice(&why, answer->why);
	if (answer->verdict == AUTH_KEPT)
		login->kept = login->verdict;
	if (answer->verdict != AUTH_CHALLENGE)
		login->verdict = NULL;
	switch (answer->verdict) {
	case AUTH_KEPT:
	case AUTH_ACCEPTED:
		take_acceptance(session, answer);
		break;
	case AUTH_REFUSED:
		session_fail(session, REFUSAL_CREDENTIALS, slice_from(""),
		    buf_string(&why), 0);
		break;
	case AUTH_CHALLENGE:
		pass_challenge(session, answer->message);
		break;
	case AUTH_UNAVAILABLE:
	case AUTH_UNSUITED:
	case AUTH_VERDICT_COUNT:
		session_refuse_unavailable(session,
		    "Logins cannot be verified now, try again later.",
		    buf_string(&why));
		break;
	}
	buf_free(&why);
}

/* The pool of whose mailbox it is; empty where that does not matter. */
static struct slice
find_pool(struct session *session)
{
	struct login *login = session->login;
	struct router *router = &session->relay->router;
	const struct pool *pool;
	const char *why;

	if (router_refresh(router, &why) < 0)
		return slice_from("");
	pool = cell_account_pool(router->cell, &login->account);
	return pool ? pool->name : slice_from("");
}

static void
ask(struct session *session, struct auth_request *request)
{
	struct login *login = session->login;

	request->service = session->listener->config->service;
	login->verdict = verdict_ask(
	    session->relay->verdicts, NULL, request, on_verdict, session);
	session_enter(session, SESSION_VERIFY);
	session_arm(session);
}

/* Of who logs in; owned. */
struct identity {
	struct buf uid, dn, principal;
};

static void
identity_free(struct identity *identity)
{
	buf_free(&identity->uid);
	buf_free(&identity->dn);
	buf_free(&identity->principal);
}

/*
 * Finds the account that logs in, then the one whose mailbox it is, which stays
 * in login->account. False when the session was answered.
 */
static bool
find_accounts(struct session *session, struct identity *identity)
{
	struct login *login = session->login;
	struct replica *replica = session->relay->router.replica;
	const struct credentials *credentials = &login->front.credentials;
	const char *why = NULL;
	enum replica_result result =
	    replica_find_login(replica, buf_slice(&credentials->user),
		&login->account_store, &login->account, &why);

	if (result == REPLICA_FOUND) {
		buf_add_slice(&identity->uid, login->account.uid);
		buf_add_slice(&identity->dn, login->account.dn);
		buf_add_slice(&identity->principal, login->account.principal);
	} else if (result == REPLICA_UNKNOWN) {
		login->account = (struct account){ 0 };
		buf_add_string(&identity->dn, NOBODY_DN);
	}
	if (credentials->authorise.size > 0 &&
	    (result == REPLICA_FOUND || result == REPLICA_UNKNOWN)) {
		result = replica_find_login(replica,
		    buf_slice(&credentials->authorise), &login->account_store,
		    &login->account, &why);
		if (result == REPLICA_UNKNOWN)
			login->account = (struct account){ 0 };
	}
	if (result == REPLICA_FOUND || result == REPLICA_UNKNOWN)
		return true;
	session_refuse_unavailable(
	    session, "Logins cannot be verified now, try again later.", why);
	return false;
}

/* kind: PASSWORD, or GRANT where the certificate has said who it is. */
static void
ask_about_accounts(struct session *session, enum auth_kind kind)
{
	struct login *login = session->login;
	const struct credentials *credentials = &login->front.credentials;
	struct identity identity = {
		.uid = buf_bounded(SASL_NAME_SIZE_MAX),
		.dn = buf_bounded(login->account_store.size_max),
		.principal = buf_bounded(SASL_NAME_SIZE_MAX),
	};
	struct auth_request request = { .kind = kind };

	if (find_accounts(session, &identity) &&
	    !session_is_account_blocked(session)) {
		request.name = buf_slice(&identity.uid);
		request.dn = buf_slice(&identity.dn);
		request.principal = buf_slice(&identity.principal);
		request.pool = find_pool(session);
		request.message = buf_slice(&credentials->password);
		if (credentials->authorise.size > 0)
			request.authorise =
			    login->account.uid.size > 0
				? login->account.uid
				: buf_slice(&credentials->authorise);
		ask(session, &request);
	}
	identity_free(&identity);
}

/* Whose certificate it is, by the part that is configured. */
static int
read_certificate(const struct session *session, struct buf *name)
{
	static const enum tls_client_part parts[] = {
		[CONFIG_CERTIFICATE_CN] = TLS_CLIENT_COMMON_NAME,
		[CONFIG_CERTIFICATE_EMAIL] = TLS_CLIENT_MAIL,
		[CONFIG_CERTIFICATE_UID] = TLS_CLIENT_UID,
	};

	int field = session->relay->config->auth.certificate_name;

	buf_clear(name);
	if (tls_client_name(session->front.ssl, parts[field], name) < 0 ||
	    slice_find(buf_slice(name), '\0') != SIZE_MAX || name->size == 0)
		return -1;
	return 0;
}

static void
verify_certificate(struct session *session)
{
	struct credentials *credentials = &session->login->front.credentials;

	if (read_certificate(session, &credentials->user) < 0)
		session_fail(session, REFUSAL_CREDENTIALS, slice_from(""),
		    "the client has no certificate with a name", 0);
	else
		ask_about_accounts(session, AUTH_GRANT);
}

void
session_offer_external(struct session *session)
{
	struct login *login = session->login;
	struct buf name = buf_bounded(SASL_NAME_SIZE_MAX);
	unsigned bit = 1U << SASL_EXTERNAL;

	if (login->mechanisms & bit && read_certificate(session, &name) == 0)
		login->front.mechanisms |= bit;
	buf_free(&name);
}

/* A ticket says who it is; now as with a certificate. */
static void
take_principal(struct session *session, const struct auth_answer *answer)
{
	struct login *login = session->login;
	struct credentials *credentials = &login->front.credentials;
	struct slice user = answer->name;
	const char *why = NULL;
	enum replica_result result =
	    principal_owner_find(session->relay->router.replica, user,
		session->relay->config->auth.realm, &login->account_store,
		&login->account, &why);

	login->challenged = false;
	buf_clear(&credentials->user);
	buf_clear(&credentials->authorise);
	if (result == REPLICA_FOUND && login->account.uid.size > 0)
		user = login->account.uid;
	else
		login->account = (struct account){ 0 };
	buf_add_slice(&credentials->user, user);
	if (!slice_equal(answer->authorise, answer->name) &&
	    !slice_equal(answer->authorise, user))
		buf_add_slice(&credentials->authorise, answer->authorise);
	if (result == REPLICA_FOUND)
		ask_about_accounts(session, AUTH_GRANT);
	else if (result == REPLICA_UNKNOWN)
		session_fail_unknown(session, "no account has this principal");
	else
		session_refuse_unavailable(session,
		    "Logins cannot be verified now, try again later.", why);
}

static void
verify(struct session *session)
{
	struct login *login = session->login;
	struct auth_request request = { .kind = AUTH_ACCEPT,
		.message = buf_slice(&login->front.credentials.message) };

	switch (login->front.credentials.mechanism) {
	case SASL_EXTERNAL:
		verify_certificate(session);
		return;
	case SASL_GSSAPI:
		login->accepting = true;
		ask(session, &request);
		return;
	case SASL_PLAIN:
	case SASL_LOGIN:
	case SASL_SCRAM_SHA_1:
	case SASL_SCRAM_SHA_256:
	case SASL_OAUTHBEARER:
	case SASL_XOAUTH2:
	case SASL_MECHANISM_COUNT:
		break;
	}
	ask_about_accounts(session, AUTH_PASSWORD);
}

/* ---- GSSAPI at the back end ---- */

bool
session_initiates(const struct session *session)
{
	const struct login *login = session->login;

	return login->granted && login->granted->mechanism == SASL_GSSAPI;
}

/* The KDC may not have who came, or what came be no good for a ticket. */
static void
fail_initiation(
    struct session *session, const struct auth_answer *answer, const char *why)
{
	if (answer->verdict == AUTH_REFUSED)
		session_fail(
		    session, REFUSAL_CREDENTIALS, slice_from(""), why, 0);
	else if (answer->verdict == AUTH_UNSUITED)
		session_refuse(session, REFUSAL_NOLOGIN, answer->message, why);
	else
		session_refuse_unavailable(session,
		    "The mailbox cannot be served now, try again later.", why);
}

/* What an auth process has for the back end. */
static void
on_initiated(void *context, const struct auth_answer *answer)
{
	struct session *session = context;
	struct login *login = session->login;
	struct buf why = buf_bounded(256);

	if (answer->verdict != AUTH_CHALLENGE) {
		login->verdict = NULL;
		buf_add_slice(&why, answer->why);
		fail_initiation(session, answer, buf_string(&why));
	} else if (session->back.fd >= 0) {
		session_answer_back(session, answer->message);
	} else {
		/* With a ticket that the KDC gave for the password. */
		if (!login->verified)
			take_verification(session);
		buf_clear(&login->granted->message);
		buf_add_slice(&login->granted->message, answer->message);
		session_resolve(session);
	}
	buf_free(&why);
}

void
session_initiate(struct session *session)
{
	struct login *login = session->login;
	const struct credentials *client = &login->front.credentials;
	struct auth_request request = { .kind = AUTH_INITIATE,
		.service = session->listener->config->service,
		.stamp = XXH3_64bits(
		    login->account.record.data, login->account.record.size),
		.authorise = session_back_user(session),
		.pool = find_pool(session),
		.host = slice_from(login->route.host) };

	if (client->authorise.size > 0 &&
	    !slice_equal_nocase(
		buf_slice(&client->authorise), buf_slice(&client->user)))
		request.name = buf_slice(&client->user);
	login->verdict = verdict_ask(session->relay->verdicts, login->kept,
	    &request, on_initiated, session);
	session_enter(session, SESSION_VERIFY);
	session_arm(session);
}

void
session_go_on_initiating(struct session *session)
{
	struct login *login = session->login;

	evtimer_del(&login->timer);
	if (!login->verdict) {
		session_refuse_unavailable(session,
		    "The server of the mailbox is not set up right.",
		    "the server goes on with GSSAPI where it should not");
		return;
	}
	verdict_respond(login->verdict, buf_slice(&login->back.challenge));
	session_enter(session, SESSION_VERIFY);
	session_arm(session);
}

/* ---- the client's words ---- */

void
session_authenticate(struct session *session)
{
	struct login *login = session->login;
	const struct config *config = session->relay->config;

	session_end_phase(session, STATS_PHASE_AUTHENTICATE);
	login->asked_ms = login->phase_us / 1000;
	login->retries = 0;
	login->challenged = false;
	login->account = (struct account){ 0 };
	login->route.server[0] = '\0';
	if (!sasl_is_relayed(login->front.credentials.mechanism))
		credentials_split_master(&login->front.credentials,
		    config->auth.master_separator[0]);
	if (!session_flush_front(session))
		return;
	if (session_is_address_blocked(session))
		session_fail_blocked(
		    session, "too many failures of this address");
	else if (session->listener->config->authentication == CONFIG_VERIFY)
		verify(session);
	else
		session_log_in(session);
}

void
session_take_response(struct session *session)
{
	struct login *login = session->login;

	if (!login->verdict) {
		session_respond(session);
		return;
	}
	login->asked_ms = relay_now_ms();
	verdict_respond(
	    login->verdict, buf_slice(&login->front.credentials.message));
	session_enter(session, SESSION_VERIFY);
	session_arm(session);
}
