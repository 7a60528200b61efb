#include "proxy/pop3_front.h"

#include "proxy/front_sasl.h"
#include "proxy/front_unit.h"
#include "proxy/line.h"

#define CRLF "\r\n"

struct pop3_state {
	bool has_user; /* USER was said: PASS may come */
};

/* What the servers have in common, then what is ours to say. */
static enum front_action
run_capa(struct front *front, struct slice argument, struct buf *out)
{
	struct slice lines =
	    buf_slice(&front->settings->offers->lines[SERVICE_POP3]);
	struct slice keyword, words;

	(void)argument;
	buf_add_string(out, "+OK Capabilities:" CRLF);
	while (offer_next(&lines, &keyword, &words)) {
		buf_add_slice(out, keyword);
		buf_add_string(out, words.size > 0 ? " " : "");
		buf_add_slice(out, words);
		buf_add_string(out, CRLF);
	}
	buf_add_string(out, "RESP-CODES" CRLF "AUTH-RESP-CODE" CRLF);
	if (front->tls_offered && !front->tls)
		buf_add_string(out, "STLS" CRLF);
	if (front_takes_passwords(front))
		buf_add_string(out, "USER" CRLF);
	if (front_may_login(front)) {
		buf_add_string(out, "SASL");
		front_sasl_list(front, " ", out);
		buf_add_string(out, CRLF);
	}
	buf_add_string(out, "IMPLEMENTATION Postcell" CRLF "." CRLF);
	return FRONT_MORE;
}

static enum front_action
run_stls(struct front *front, struct slice argument, struct buf *out)
{
	struct pop3_state *state = front->state;

	(void)argument;
	/* RFC 2595 section 4: what was learned before TLS is forgotten. */
	state->has_user = false;
	front->utf8 = false;
	buf_add_string(out, "+OK Begin TLS negotiation now." CRLF);
	return FRONT_STARTTLS;
}

static enum front_action
run_quit(struct front *front, struct slice argument, struct buf *out)
{
	(void)argument;
	buf_add_string(out, "+OK Logging out." CRLF);
	front->closed_why = "client logged out";
	return FRONT_CLOSE;
}

/* The name is all that follows, spaces included. */
static enum front_action
run_user(struct front *front, struct slice argument, struct buf *out)
{
	struct pop3_state *state = front->state;
	struct buf *user = &front->credentials.user;

	state->has_user = false;
	buf_clear(&front->credentials.authorise);
	buf_clear(user);
	if (argument.size == 0 || buf_add_slice(user, argument) < 0)
		return front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "USER takes a user name.");
	state->has_user = true;
	buf_add_string(out, "+OK" CRLF);
	return FRONT_MORE;
}

static enum front_action
run_pass(struct front *front, struct slice argument, struct buf *out)
{
	struct pop3_state *state = front->state;
	struct buf *password = &front->credentials.password;

	if (!state->has_user)
		return front_complain(
		    front, out, FRONT_FAULT_ORDER, "USER comes before PASS.");
	state->has_user = false;
	buf_clear(password);
	front->credentials.mechanism = SASL_PLAIN;
	if (argument.size == 0 || buf_add_slice(password, argument) < 0)
		return front_complain(
		    front, out, FRONT_FAULT_ARGUMENT, "PASS takes a password.");
	return FRONT_LOGIN;
}

/* Without an argument: a list, as clients of before RFC 5034 expect it. */
static enum front_action
list_mechanisms(const struct front *front, struct buf *out)
{
	buf_add_string(out, "+OK");
	front_sasl_list(front, CRLF, out);
	buf_add_string(out, CRLF "." CRLF);
	return FRONT_MORE;
}

static enum front_action
run_auth(struct front *front, struct slice argument, struct buf *out)
{
	struct pop3_state *state = front->state;

	if (argument.size == 0)
		return list_mechanisms(front, out);
	state->has_user = false;
	return front_sasl_begin_line(front, argument, out);
}

/* RFC 6856 section 2: it changes what the server sends after login. */
static enum front_action
run_utf8(struct front *front, struct slice argument, struct buf *out)
{
	struct slice lines =
	    buf_slice(&front->settings->offers->lines[SERVICE_POP3]);
	struct slice words;

	(void)argument;
	if (!offer_find(lines, "UTF8", &words))
		return front_complain(front, out, FRONT_FAULT_ABSENT,
		    "UTF8 is not offered here.");
	front->utf8 = true;
	buf_add_string(out, "+OK UTF8 is on." CRLF);
	return FRONT_MORE;
}

/* RFC 6856 section 3: what is said before login is English. */
static enum front_action
run_lang(struct front *front, struct slice argument, struct buf *out)
{
	if (argument.size == 0) {
		buf_add_string(out, "+OK Languages:" CRLF "en English" CRLF
				    "i-default Default" CRLF "." CRLF);
		return FRONT_MORE;
	}
	if (!slice_is(argument, "*") && !slice_is_nocase(argument, "en") &&
	    !slice_is_nocase(argument, "i-default"))
		return front_complain(front, out, FRONT_FAULT_ABSENT,
		    "This language is not spoken here.");
	buf_add_string(out, "+OK en English it is." CRLF);
	return FRONT_MORE;
}

static const struct front_command commands[] = {
	{ "CAPA", FRONT_BARE, run_capa },
	{ "STLS", FRONT_BARE | FRONT_BEFORE_TLS, run_stls },
	{ "USER", FRONT_CREDENTIALS | FRONT_PASSWORD, run_user },
	{ "PASS", FRONT_CREDENTIALS | FRONT_PASSWORD, run_pass },
	{ "AUTH", FRONT_CREDENTIALS, run_auth },
	{ "UTF8", FRONT_BARE, run_utf8 },
	{ "LANG", 0, run_lang },
	{ "QUIT", FRONT_BARE, run_quit },
};

/* A response may be as long as a literal elsewhere (RFC 5034 section 4). */
static size_t
line_size(const struct front *front)
{
	return front->settings->line_size +
	       (front->in_sasl ? front->settings->literal_size : 0);
}

static enum front_unit
pop3_take(struct front *front, struct slice *input, struct slice *text,
    struct buf *out, const char **why)
{
	(void)out;
	return front_unit_line(input, line_size(front), text, why);
}

static void
pop3_greet(struct front *front, struct buf *out)
{
	buf_add_string(out, "+OK ");
	buf_add_string(out, front->settings->host_name);
	buf_add_string(out, " ready." CRLF);
}

static void
pop3_add_challenge(struct buf *out, struct slice base64)
{
	buf_add_string(out, "+ ");
	buf_add_slice(out, base64);
	buf_add_string(out, CRLF);
}

static void
pop3_accept(struct front *front, struct slice reply, struct slice untagged,
    struct buf *out)
{
	(void)front;
	(void)untagged;
	line_add_text(out, reply);
	buf_add_string(out, CRLF);
}

const struct front_protocol pop3_front = {
	.commands = commands,
	.command_count = ARRAY_SIZE(commands),
	.state_size = sizeof(struct pop3_state),
	.starttls = "STLS",
	.fault = "-ERR ",
	.faults = {
		[FRONT_FAULT_PRIVACY] = "-ERR [AUTH] ",
		[FRONT_FAULT_CREDENTIALS] = "-ERR [AUTH] ",
	},
	.bye = "-ERR ",
	.goodbye = "-ERR [SYS/TEMP] ",
	.refusals = {
		[REFUSAL_CREDENTIALS] = "-ERR [AUTH] Authentication failed.",
		[REFUSAL_NOLOGIN] =
		    "-ERR [SYS/PERM] This account may not log in now. ",
		[REFUSAL_UNAVAILABLE] = "-ERR [SYS/TEMP] ",
		[REFUSAL_LIMIT] = "-ERR [SYS/TEMP] ",
	},
	.line_end = CRLF,
	.greet = pop3_greet,
	.take = pop3_take,
	.run = front_unit_run,
	.respond = front_sasl_respond,
	.add_challenge = pop3_add_challenge,
	.accept = pop3_accept,
};
