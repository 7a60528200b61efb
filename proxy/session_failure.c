#include "proxy/session_failure.h"

#include "proxy/session_auth.h"
#include "proxy/session_back.h"
#include "proxy/session_front.h"

static const struct config_failures *
limits(const struct session *session)
{
	return &session->relay->config->failures;
}

static uint64_t
address_key(const struct session *session)
{
	const struct config_limits *bits = &session->relay->config->limits;
	uint8_t prefix[NETWORK_ADDRESS_SIZE];

	network_prefix(&session->client, (unsigned)bits->address_bits_ipv4,
	    (unsigned)bits->address_bits_ipv6, prefix);
	return failures_address_key(session->relay->settings->failures, prefix);
}

/* A load balancer's or webmail's address stands for many. */
static bool
is_counted(const struct session *session)
{
	return !networks_contain(
	    &session->relay->config->limits.unlimited, &session->client);
}

/*
 * Whose password is guessed: by what tells the account apart where it is known,
 * else, and for masters, by the name that was typed.
 */
static uint64_t
guessed_key(const struct session *session)
{
	const struct login *login = session->login;
	struct buf name = buf_bounded(NAME_SIZE_MAX);
	const char *why;
	uint64_t key;

	if (login->account.id.size > 0 &&
	    login->front.credentials.authorise.size == 0)
		return failures_account_key(
		    session->relay->settings->failures, login->account.id);
	if (name_normalise(&name, NAME_UID,
		buf_slice(&login->front.credentials.user), &why) < 0)
		buf_clear(&name);
	key = failures_account_key(
	    session->relay->settings->failures, buf_slice(&name));
	buf_free(&name);
	return key;
}

static unsigned
count_failures(const struct session *session, uint64_t key)
{
	return failures_count(session->relay->settings->failures, key,
	    session->relay->now_s, limits(session)->window);
}

/* Counts this guess at the account, once; the count with it. */
static unsigned
count_guess(struct session *session)
{
	struct login *login = session->login;

	if (login->guessed_key != 0)
		return count_failures(session, login->guessed_key);
	login->guessed_key = guessed_key(session);
	return failures_add(session->relay->settings->failures,
	    login->guessed_key, session->relay->now_s, limits(session)->window,
	    &login->guessed_since_s);
}

/* fail2ban reads this: the address stands before all that a stranger chose. */
static void
log_failure(const struct session *session, const char *why, unsigned count)
{
	const struct login *login = session->login;
	struct log_line line = log_line(LOG_LEVEL_INFO, "login_failed");
	char address[INET6_ADDRSTRLEN];

	address_text(&session->client, address, sizeof(address));
	log_word(&line, "address", address);
	log_word(&line, "session", session->id);
	log_word(&line, "listener", session->listener->config->title);
	log_number(&line, "count", count);
	log_word(&line, "mechanism",
	    sasl_mechanism_text(login->front.credentials.mechanism));
	log_text(&line, "user", credentials_owner(&login->front.credentials));
	if (login->front.credentials.authorise.size > 0)
		log_text(
		    &line, "master", buf_slice(&login->front.credentials.user));
	if (login->route.server[0])
		log_string(&line, "server", login->route.server);
	log_string(&line, "why", why);
	log_send(&session->relay->log, &line);
}

void
session_fail(struct session *session, enum refusal_kind kind, struct slice text,
    const char *why, int64_t passed_ms)
{
	struct login *login = session->login;
	struct failures *failures = session->relay->settings->failures;
	const struct config_failures *config = limits(session);
	int64_t now_s = session->relay->now_s;
	int64_t since_s;
	unsigned count = is_counted(session)
			     ? failures_add(failures, address_key(session),
				   now_s, config->window, &since_s)
			     : 0;
	unsigned of_account = count_guess(session);
	int64_t since_ms = relay_now_ms() - login->asked_ms, wait_ms;
	struct timeval wait;

	/* A failure it is, and stays counted. */
	login->guessed_key = 0;
	count = of_account > count ? of_account : count;
	log_failure(session, why, count);
	relay_count(session->relay, session->listener, STATS_FAILED, 1);
	login->attempts++;
	login->refused = kind;
	buf_clear(&login->refused_text);
	buf_add_slice(&login->refused_text, text);
	session_forget_verdict(session);
	session_leave_back(session);
	credentials_wipe(&login->front.credentials);
	login->challenged = false;
	wait_ms = failures_delay_ms(count, config->delay, config->delay_max,
		      passed_ms > since_ms ? passed_ms : since_ms) -
		  since_ms;
	wait_ms = wait_ms > 0 ? wait_ms : 0;
	wait = (struct timeval){ wait_ms / 1000, wait_ms % 1000 * 1000 };
	evtimer_add(&login->timer, &wait);
	session_enter(session, SESSION_PENALTY);
	session_arm(session);
}

void
session_end_penalty(struct session *session)
{
	struct login *login = session->login;
	struct refusal refusal = { login->refused,
		buf_slice(&login->refused_text) };

	if (login->attempts < (unsigned)limits(session)->session_attempts) {
		session_say_refusal(session, refusal.kind, refusal.text);
		return;
	}
	front_refuse(&login->front, &refusal, &login->front_out);
	front_goodbye(
	    &login->front, "Too many failed logins.", &login->front_out);
	session_close(session, "too many failed logins");
}

void
session_fail_unknown(struct session *session, const char *why)
{
	const struct relay *relay = session->relay;

	relay_count(relay, session->listener, STATS_UNKNOWN, 1);
	/* A back end would have taken its time to say no. */
	session_fail(session, REFUSAL_CREDENTIALS, slice_from(""), why,
	    session->login->verified ? 0 : relay->refusal_ms);
}

void
session_fail_blocked(struct session *session, const char *why)
{
	relay_count(session->relay, session->listener, STATS_BLOCKED, 1);
	session_fail(session, REFUSAL_CREDENTIALS, slice_from(""), why,
	    session->relay->refusal_ms);
}

bool
session_is_address_blocked(const struct session *session)
{
	long attempts = limits(session)->address_attempts;

	return attempts > 0 && is_counted(session) &&
	       count_failures(session, address_key(session)) >=
		   (unsigned)attempts;
}

bool
session_is_account_blocked(struct session *session)
{
	long attempts = limits(session)->account_attempts;

	/* One that was let in stays in, however often it is routed. */
	if (attempts == 0 || session->login->guessed_key != 0 ||
	    count_guess(session) <= (unsigned)attempts)
		return false;
	session_fail_blocked(session, "too many failures of this account");
	return true;
}

/* ---- the back end's no ---- */

/* Codes of RFC 5530, 3206, 5321 and 5804 for what another attempt may mend. */
static bool
is_temporary(struct slice reply)
{
	static const char *const codes[] = { "NO [UNAVAILABLE]", "NO [INUSE]",
		"NO [LIMIT]", "NO [SERVERBUG]", "NO [CONTACTADMIN]",
		"-ERR [SYS/", "-ERR [IN-USE]", "-ERR [LOGIN-DELAY]",
		"NO (TRYLATER", "4" };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (slice_starts_nocase(reply, codes[i]))
			return true;
	return false;
}

void
session_take_back_refusal(struct session *session)
{
	struct login *login = session->login;
	struct relay *relay = session->relay;
	struct slice reply = buf_slice(&login->back.reply);
	int64_t passed_ms = relay_now_ms() - login->asked_ms;

	if (login->granted) {
		session_refuse_unavailable(session,
		    "The server of the mailbox is not set up right.",
		    login->kept
			? "the server refuses the user's ticket"
			: "the server refuses the proxy's own credentials");
		return;
	}
	if (login->verified || is_temporary(reply)) {
		session_refuse(
		    session, REFUSAL_BACK, reply, "the server said no");
		return;
	}
	relay->refusal_ms = (3 * relay->refusal_ms + passed_ms) / 4;
	session_fail(session, REFUSAL_BACK, reply, "the server said no", 0);
}
