#include "proxy/pop3_front.h"

#include <stdlib.h>

#include "proxy/front_sasl.h"
#include "proxy/line.h"

#define CRLF "\r\n"

struct pop3_state {
	bool has_user; /* USER was said: PASS may come */
};

/* Where a command is legal, and what it needs. */
enum command_flag {
	COMMAND_BEFORE_TLS = 1, /* only while TLS is offered and not on */
	COMMAND_LOGIN = 2,      /* only where credentials may be said */
	COMMAND_BARE = 4,       /* takes no argument */
	COMMAND_PASSWORD = 8    /* only where passwords are taken */
};

struct command {
	const char *name;
	unsigned flags;
	enum front_action (*run)(
	    struct front *front, struct slice argument, struct buf *out);
};

static enum front_action
close_with(struct front *front, struct buf *out, const char *text)
{
	buf_printf(out, "-ERR %s" CRLF, text);
	front->closed_why = text;
	return FRONT_CLOSE;
}

/* A command that cannot be run; it is counted. */
static enum front_action
refuse_command(struct front *front, struct buf *out, const char *text)
{
	buf_printf(out, "-ERR %s" CRLF, text);
	if (++front->bad_commands >= front->settings->bad_commands)
		return close_with(front, out, "Too many bad commands.");
	return FRONT_MORE;
}

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
		return refuse_command(front, out, "USER takes a user name.");
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
		return refuse_command(front, out, "USER comes before PASS.");
	state->has_user = false;
	buf_clear(password);
	front->credentials.mechanism = SASL_PLAIN;
	if (argument.size == 0 || buf_add_slice(password, argument) < 0)
		return refuse_command(front, out, "PASS takes a password.");
	return FRONT_LOGIN;
}

static enum front_action
take_sasl(struct front *front, enum front_sasl result,
    const struct buf *challenge, const char *why, struct buf *out)
{
	switch (result) {
	case FRONT_SASL_CHALLENGE:
		buf_add_string(out, "+ ");
		buf_add_slice(out, buf_slice(challenge));
		buf_add_string(out, CRLF);
		return FRONT_MORE;
	case FRONT_SASL_LOGIN:
		return FRONT_LOGIN;
	case FRONT_SASL_RESPONSE:
		return FRONT_RESPONSE;
	case FRONT_SASL_CANCELLED:
		return refuse_command(front, out, "Authentication cancelled.");
	case FRONT_SASL_NOT_BASE64:
		return refuse_command(front, out, "Response is not base64.");
	case FRONT_SASL_FAILED:
		break;
	}
	buf_printf(out, "-ERR [AUTH] %s." CRLF, why);
	return FRONT_MORE;
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
	size_t space = slice_find(argument, ' ');
	struct slice initial = slice_from_offset(
	    argument, space == SIZE_MAX ? argument.size : space + 1);
	struct buf challenge = buf_bounded(front->settings->line_size);
	enum sasl_mechanism mechanism;
	enum front_action action;
	enum front_sasl result;
	const char *why = "";

	if (argument.size == 0)
		return list_mechanisms(front, out);
	if (front_sasl_find(front, slice_first(argument, space), &mechanism) <
	    0)
		return refuse_command(
		    front, out, "This mechanism is not spoken here.");
	state->has_user = false;
	result = front_sasl_begin(front, mechanism,
	    space == SIZE_MAX ? NULL : &initial, &challenge, &why);
	action = take_sasl(front, result, &challenge, why, out);
	buf_free(&challenge);
	return action;
}

static enum front_action
take_response(struct front *front, struct slice line, struct buf *out)
{
	struct buf challenge = buf_bounded(front->settings->line_size);
	enum front_action action;
	enum front_sasl result;
	const char *why = "";

	result = front_sasl_respond(front, line, &challenge, &why);
	action = take_sasl(front, result, &challenge, why, out);
	buf_free(&challenge);
	return action;
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
		return refuse_command(front, out, "UTF8 is not offered here.");
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
		return refuse_command(
		    front, out, "This language is not spoken here.");
	buf_add_string(out, "+OK en English it is." CRLF);
	return FRONT_MORE;
}

static const struct command commands[] = {
	{ "CAPA", COMMAND_BARE, run_capa },
	{ "STLS", COMMAND_BARE | COMMAND_BEFORE_TLS, run_stls },
	{ "USER", COMMAND_LOGIN | COMMAND_PASSWORD, run_user },
	{ "PASS", COMMAND_LOGIN | COMMAND_PASSWORD, run_pass },
	{ "AUTH", COMMAND_LOGIN, run_auth },
	{ "UTF8", COMMAND_BARE, run_utf8 },
	{ "LANG", 0, run_lang },
	{ "QUIT", COMMAND_BARE, run_quit },
};

static const struct command *
find_command(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (slice_is_nocase(name, commands[i].name))
			return &commands[i];
	return NULL;
}

static enum front_action
run_command(struct front *front, struct slice line, struct buf *out)
{
	size_t space = slice_find(line, ' ');
	const struct command *command = find_command(slice_first(line, space));
	struct slice argument =
	    slice_from_offset(line, space == SIZE_MAX ? line.size : space + 1);

	if (!command)
		return refuse_command(
		    front, out, "Unknown command, or not before login.");
	if ((command->flags & COMMAND_BARE) && space != SIZE_MAX)
		return refuse_command(
		    front, out, "This command takes no argument.");
	if ((command->flags & COMMAND_BEFORE_TLS) && front->tls)
		return refuse_command(front, out, "TLS is on already.");
	if ((command->flags & COMMAND_BEFORE_TLS) && !front->tls_offered)
		return refuse_command(front, out, "TLS is not offered here.");
	if ((command->flags & COMMAND_LOGIN) && !front_may_login(front)) {
		buf_add_string(
		    out, "-ERR [AUTH] Credentials only after STLS." CRLF);
		return FRONT_MORE;
	}
	if ((command->flags & COMMAND_PASSWORD) &&
	    !front_takes_passwords(front))
		return refuse_command(
		    front, out, "Passwords are not taken here.");
	return command->run(front, argument, out);
}

/* A response may be as long as a literal elsewhere (RFC 5034 section 4). */
static size_t
line_size(const struct front *front)
{
	return front->settings->line_size +
	       (front->in_sasl ? front->settings->literal_size : 0);
}

/* A faulty line in place of a response ends the exchange. */
static enum front_action
refuse_line(struct front *front, enum line_result result, struct buf *out)
{
	front->in_sasl = false;
	if (result == LINE_TOO_LONG)
		return close_with(front, out, "Line too long.");
	return refuse_command(front, out,
	    result == LINE_ENDING
		? "Lines end in CRLF."
		: "Commands have no NUL and no CR by itself.");
}

static enum front_action
pop3_input(struct front *front, struct slice *input, struct buf *out)
{
	enum front_action action = FRONT_MORE;

	while (action == FRONT_MORE) {
		struct slice line;
		enum line_result result =
		    line_take(input, line_size(front), &line);

		if (result == LINE_MORE)
			return FRONT_MORE;
		if (result != LINE_DONE)
			action = refuse_line(front, result, out);
		else if (front->in_sasl)
			action = take_response(front, line, out);
		else
			action = run_command(front, line, out);
	}
	return action;
}

static int
pop3_open(struct front *front)
{
	front->state = calloc(1, sizeof(struct pop3_state));
	return front->state ? 0 : -1;
}

static void
pop3_close(struct front *front)
{
	free(front->state);
	front->state = NULL;
}

static void
pop3_greet(struct front *front, struct buf *out)
{
	buf_add_string(out, "+OK ");
	buf_add_string(out, front->settings->host_name);
	buf_add_string(out, " ready." CRLF);
}

static void
pop3_challenge(struct front *front, struct slice challenge, struct buf *out)
{
	buf_add_string(out, "+ ");
	front_sasl_challenge(front, challenge, out);
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

static void
pop3_refuse(struct front *front, const struct refusal *refusal, struct buf *out)
{
	(void)front;
	switch (refusal->kind) {
	case REFUSAL_BACK:
		break;
	case REFUSAL_CREDENTIALS:
		buf_add_string(out, "-ERR [AUTH] Authentication failed.");
		break;
	case REFUSAL_NOLOGIN:
		buf_add_string(
		    out, "-ERR [SYS/PERM] This account may not log in now. ");
		break;
	case REFUSAL_UNAVAILABLE:
		buf_add_string(out, "-ERR [SYS/TEMP] ");
		break;
	}
	line_add_text(out, refusal->text);
	buf_add_string(out, CRLF);
}

static void
pop3_goodbye(struct front *front, const char *text, struct buf *out)
{
	(void)front;
	buf_printf(out, "-ERR [SYS/TEMP] %s" CRLF, text);
}

const struct front_protocol pop3_front = {
	.service = SERVICE_POP3,
	.open = pop3_open,
	.close = pop3_close,
	.greet = pop3_greet,
	.input = pop3_input,
	.challenge = pop3_challenge,
	.accept = pop3_accept,
	.refuse = pop3_refuse,
	.goodbye = pop3_goodbye,
};
