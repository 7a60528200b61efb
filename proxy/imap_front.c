#include "proxy/imap_front.h"

#include <stdlib.h>

#include "proxy/front_sasl.h"
#include "proxy/imap_scan.h"

#define CRLF "\r\n"

/* One command line of an IMAP client, while it is being understood. */
struct imap_state {
	struct imap_scanner scanner;
	struct buf tag; /* owned: of the command under way */
};

/* Where a command is legal, and what it needs. */
enum command_flag {
	COMMAND_BEFORE_TLS = 1, /* only while TLS is offered and not on */
	COMMAND_LOGIN = 2,      /* only where credentials may be said */
	COMMAND_PASSWORD = 4    /* only where passwords are taken */
};

struct command {
	const char *name;
	unsigned flags;
	enum front_action (*run)(
	    struct front *front, struct slice arguments, struct buf *out);
};

static void
add_capabilities(const struct front *front, struct buf *out)
{
	buf_add_string(out, "CAPABILITY IMAP4rev1 LITERAL- SASL-IR ID");
	if (front->tls_offered && !front->tls)
		buf_add_string(out, " STARTTLS");
	if (!front_takes_passwords(front))
		buf_add_string(out, " LOGINDISABLED");
	if (front_may_login(front))
		front_sasl_list(front, " AUTH=", out);
}

/* TAG + " " + text + CRLF; "*" where there is no tag. */
static void
say(const struct front *front, struct buf *out, const char *text)
{
	const struct imap_state *state = front->state;

	buf_add_slice(out,
	    state->tag.size > 0 ? buf_slice(&state->tag) : slice_from("*"));
	buf_add_char(out, ' ');
	buf_add_string(out, text);
	buf_add_string(out, CRLF);
}

static enum front_action
close_with(struct front *front, struct buf *out, const char *text)
{
	buf_printf(out, "* BYE %s" CRLF, text);
	front->closed_why = text;
	return FRONT_CLOSE;
}

/* A command that cannot be run: said with its tag, and counted. */
static enum front_action
refuse_command(struct front *front, struct buf *out, const char *text)
{
	say(front, out, text);
	if (++front->bad_commands >= front->settings->bad_commands)
		return close_with(front, out, "Too many bad commands.");
	return FRONT_MORE;
}

static enum front_action
run_capability(struct front *front, struct slice arguments, struct buf *out)
{
	if (!imap_take_end(&arguments))
		return refuse_command(
		    front, out, "BAD CAPABILITY takes no arguments.");
	buf_add_string(out, "* ");
	add_capabilities(front, out);
	buf_add_string(out, CRLF);
	say(front, out,
	    "OK Pre-login capabilities listed, post-login ones are the server's.");
	return FRONT_MORE;
}

static enum front_action
run_noop(struct front *front, struct slice arguments, struct buf *out)
{
	if (!imap_take_end(&arguments))
		return refuse_command(
		    front, out, "BAD NOOP takes no arguments.");
	say(front, out, "OK Nothing happened.");
	return FRONT_MORE;
}

static enum front_action
run_id(struct front *front, struct slice arguments, struct buf *out)
{
	if (!imap_take_space(&arguments) || !imap_take_id_list(&arguments) ||
	    !imap_take_end(&arguments))
		return refuse_command(
		    front, out, "BAD ID takes NIL or a list of strings.");
	buf_add_string(out, "* ID (\"name\" \"Postcell\")" CRLF);
	say(front, out, "OK ID completed.");
	return FRONT_MORE;
}

static enum front_action
run_logout(struct front *front, struct slice arguments, struct buf *out)
{
	if (!imap_take_end(&arguments))
		return refuse_command(
		    front, out, "BAD LOGOUT takes no arguments.");
	buf_add_string(out, "* BYE Logging out." CRLF);
	say(front, out, "OK Logout completed.");
	front->closed_why = "client logged out";
	return FRONT_CLOSE;
}

static enum front_action
run_starttls(struct front *front, struct slice arguments, struct buf *out)
{
	if (!imap_take_end(&arguments))
		return refuse_command(
		    front, out, "BAD STARTTLS takes no arguments.");
	say(front, out, "OK Begin TLS negotiation now.");
	return FRONT_STARTTLS;
}

static enum front_action
run_login(struct front *front, struct slice arguments, struct buf *out)
{
	struct credentials *credentials = &front->credentials;

	credentials->mechanism = SASL_PLAIN;
	buf_clear(&credentials->authorise);
	if (!imap_take_space(&arguments) ||
	    !imap_take_astring(&arguments, &credentials->user) ||
	    !imap_take_space(&arguments) ||
	    !imap_take_astring(&arguments, &credentials->password) ||
	    !imap_take_end(&arguments))
		return refuse_command(
		    front, out, "BAD LOGIN takes a user name and a password.");
	if (credentials->user.size == 0 || credentials->password.size == 0) {
		say(front, out,
		    "NO [AUTHENTICATIONFAILED] Empty user name or password.");
		return FRONT_MORE;
	}
	return FRONT_LOGIN;
}

static enum front_action
take_sasl(struct front *front, enum front_sasl result,
    const struct buf *challenge, const char *why, struct buf *out)
{
	struct imap_state *state = front->state;

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
		return refuse_command(
		    front, out, "BAD Authentication cancelled.");
	case FRONT_SASL_NOT_BASE64:
		return refuse_command(
		    front, out, "BAD Response is not base64.");
	case FRONT_SASL_FAILED:
		break;
	}
	buf_add_slice(out, buf_slice(&state->tag));
	buf_printf(out, " NO [AUTHENTICATIONFAILED] %s." CRLF, why);
	return FRONT_MORE;
}

/* Base64 of a response, or "*" to cancel. */
static enum front_action
take_response(struct front *front, struct slice text, struct buf *out)
{
	struct buf challenge = buf_bounded(FRONT_SASL_CHALLENGE_SIZE_MAX);
	enum front_action action;
	enum front_sasl result;
	const char *why = "";

	result = front_sasl_respond(front, text, &challenge, &why);
	action = take_sasl(front, result, &challenge, why, out);
	buf_free(&challenge);
	return action;
}

static enum front_action
begin_sasl(struct front *front, enum sasl_mechanism mechanism,
    const struct slice *initial, struct buf *out)
{
	struct buf challenge = buf_bounded(FRONT_SASL_CHALLENGE_SIZE_MAX);
	enum front_action action;
	enum front_sasl result;
	const char *why = "";

	result = front_sasl_begin(front, mechanism, initial, &challenge, &why);
	action = take_sasl(front, result, &challenge, why, out);
	buf_free(&challenge);
	return action;
}

static enum front_action
run_authenticate(struct front *front, struct slice arguments, struct buf *out)
{
	enum sasl_mechanism mechanism;
	struct slice name;

	if (!imap_take_space(&arguments) || !imap_take_atom(&arguments, &name))
		return refuse_command(
		    front, out, "BAD AUTHENTICATE takes a mechanism.");
	if (front_sasl_find(front, name, &mechanism) < 0) {
		say(front, out,
		    "NO [CANNOT] This mechanism is not spoken here.");
		return FRONT_MORE;
	}
	if (imap_take_end(&arguments))
		return begin_sasl(front, mechanism, NULL, out);
	if (!imap_take_space(&arguments) || arguments.size <= 2)
		return refuse_command(
		    front, out, "BAD AUTHENTICATE takes one initial response.");
	arguments.size -= 2;
	return begin_sasl(front, mechanism, &arguments, out);
}

static const struct command commands[] = {
	{ "CAPABILITY", 0, run_capability },
	{ "NOOP", 0, run_noop },
	{ "ID", 0, run_id },
	{ "LOGOUT", 0, run_logout },
	{ "STARTTLS", COMMAND_BEFORE_TLS, run_starttls },
	{ "LOGIN", COMMAND_LOGIN | COMMAND_PASSWORD, run_login },
	{ "AUTHENTICATE", COMMAND_LOGIN, run_authenticate },
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
run_command(struct front *front, struct slice text, struct buf *out)
{
	struct imap_state *state = front->state;
	const struct command *command;
	struct slice tag, name;

	buf_clear(&state->tag);
	if (!imap_take_tag(&text, &tag))
		return refuse_command(
		    front, out, "BAD A command begins with a tag.");
	buf_add_slice(&state->tag, tag);
	if (!imap_take_space(&text) || !imap_take_atom(&text, &name))
		return refuse_command(
		    front, out, "BAD There is no command after the tag.");
	command = find_command(name);
	if (!command)
		return refuse_command(
		    front, out, "BAD Unknown command, or not before login.");
	if ((command->flags & COMMAND_BEFORE_TLS) && front->tls)
		return refuse_command(front, out, "BAD TLS is on already.");
	if ((command->flags & COMMAND_BEFORE_TLS) && !front->tls_offered)
		return refuse_command(
		    front, out, "BAD TLS is not offered here.");
	if ((command->flags & COMMAND_LOGIN) && !front_may_login(front)) {
		say(front, out,
		    "NO [PRIVACYREQUIRED] Credentials only after STARTTLS.");
		return FRONT_MORE;
	}
	if ((command->flags & COMMAND_PASSWORD) &&
	    !front_takes_passwords(front)) {
		say(front, out, "NO [CANNOT] Passwords are not taken here.");
		return FRONT_MORE;
	}
	return command->run(front, text, out);
}

/*
 * What the scanner found wrong with a whole command. A client that waits for a
 * reply with its tag must get one, so the tag is looked for all the same; a
 * faulty response ends the exchange and is answered with the exchange's tag.
 */
static enum front_action
refuse_scan(struct front *front, enum imap_scan result, struct slice text,
    struct buf *out)
{
	struct imap_state *state = front->state;
	struct slice tag;

	if (!front->in_sasl) {
		buf_clear(&state->tag);
		if (imap_take_tag(&text, &tag) && imap_take_space(&text))
			buf_add_slice(&state->tag, tag);
	}
	front->in_sasl = false;
	if (result == IMAP_SCAN_LINE_ENDING)
		return refuse_command(front, out, "BAD Lines end in CRLF.");
	if (result == IMAP_SCAN_LITERAL_TOO_LARGE)
		return refuse_command(
		    front, out, "BAD [TOOBIG] Literal too large before login.");
	return refuse_command(
	    front, out, "BAD Commands have no NUL and no CR by itself.");
}

static enum front_action
imap_input(struct front *front, struct slice *input, struct buf *out)
{
	struct imap_state *state = front->state;
	enum front_action action = FRONT_MORE;
	size_t size = 0;

	while (action == FRONT_MORE && input->size > 0) {
		enum imap_scan result =
		    imap_scan(&state->scanner, *input, &size);
		struct slice text = slice_first(*input, size);

		if (result == IMAP_SCAN_MORE)
			return FRONT_MORE;
		if (result == IMAP_SCAN_FLOOD)
			return close_with(
			    front, out, "Line or literal too long.");
		if (result == IMAP_SCAN_CONTINUE) {
			buf_add_string(out, "+ OK" CRLF);
			continue;
		}
		*input = slice_from_offset(*input, size);
		imap_scanner_reset(&state->scanner);
		if (result != IMAP_SCAN_COMMAND)
			action = refuse_scan(front, result, text, out);
		else if (front->in_sasl)
			action = take_response(
			    front, slice_first(text, size - 2), out);
		else
			action = run_command(front, text, out);
	}
	return action;
}

static int
imap_open(struct front *front)
{
	struct imap_state *state = calloc(1, sizeof(*state));

	if (!state)
		return -1;
	state->scanner.line_max = front->settings->line_size;
	state->scanner.literal_max = front->settings->literal_size;
	state->tag = buf_bounded(front->settings->line_size);
	front->state = state;
	return 0;
}

static void
imap_close(struct front *front)
{
	struct imap_state *state = front->state;

	if (!state)
		return;
	buf_free(&state->tag);
	free(state);
	front->state = NULL;
}

static void
imap_greet(struct front *front, struct buf *out)
{
	buf_add_string(out, "* OK [");
	add_capabilities(front, out);
	buf_add_string(out, "] ");
	buf_add_string(out, front->settings->host_name);
	buf_add_string(out, " ready." CRLF);
}

static void
imap_challenge(struct front *front, struct slice challenge, struct buf *out)
{
	buf_add_string(out, "+ ");
	front_sasl_challenge(front, challenge, out);
	buf_add_string(out, CRLF);
}

static void
imap_accept(struct front *front, struct slice reply, struct slice untagged,
    struct buf *out)
{
	struct imap_state *state = front->state;

	buf_add_slice(out, untagged);
	buf_add_slice(out, buf_slice(&state->tag));
	buf_add_char(out, ' ');
	buf_add_slice(out, reply);
	buf_add_string(out, CRLF);
}

/* Text of the directory: no control octet of it may end our line. */
static void
add_line_text(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];

		buf_add_char(out, c < 0x20 || c == 0x7f ? ' ' : text.data[i]);
	}
}

static void
imap_refuse(struct front *front, const struct refusal *refusal, struct buf *out)
{
	struct imap_state *state = front->state;

	buf_add_slice(out, buf_slice(&state->tag));
	switch (refusal->kind) {
	case REFUSAL_BACK:
		buf_add_char(out, ' ');
		break;
	case REFUSAL_CREDENTIALS:
		buf_add_string(
		    out, " NO [AUTHENTICATIONFAILED] Authentication failed.");
		break;
	case REFUSAL_NOLOGIN:
		buf_add_string(out,
		    " NO [CONTACTADMIN] This account may not log in now. ");
		break;
	case REFUSAL_UNAVAILABLE:
		buf_add_string(out, " NO [UNAVAILABLE] ");
		break;
	}
	add_line_text(out, refusal->text);
	buf_add_string(out, CRLF);
}

static void
imap_goodbye(struct front *front, const char *text, struct buf *out)
{
	(void)front;
	buf_printf(out, "* BYE %s" CRLF, text);
}

const struct front_protocol imap_front = {
	.service = SERVICE_IMAP,
	.open = imap_open,
	.close = imap_close,
	.greet = imap_greet,
	.input = imap_input,
	.challenge = imap_challenge,
	.accept = imap_accept,
	.refuse = imap_refuse,
	.goodbye = imap_goodbye,
};
