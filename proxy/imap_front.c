#include "proxy/imap_front.h"

#include "proxy/front_sasl.h"
#include "proxy/front_unit.h"

#define CRLF "\r\n"

/* One command line of an IMAP client, while it is being understood. */
struct imap_state {
	struct imap_scanner scanner;
	struct buf tag; /* owned: of the command under way */
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

/* "*" where there is no tag. */
static void
imap_add_tag(const struct front *front, struct buf *out)
{
	const struct imap_state *state = front->state;

	buf_add_slice(out,
	    state->tag.size > 0 ? buf_slice(&state->tag) : slice_from("*"));
	buf_add_char(out, ' ');
}

/* Tag, text, CRLF. */
static void
say(const struct front *front, struct buf *out, const char *text)
{
	imap_add_tag(front, out);
	buf_add_string(out, text);
	buf_add_string(out, CRLF);
}

static enum front_action
run_capability(struct front *front, struct slice arguments, struct buf *out)
{
	(void)arguments;
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
	(void)arguments;
	say(front, out, "OK Nothing happened.");
	return FRONT_MORE;
}

static enum front_action
run_id(struct front *front, struct slice arguments, struct buf *out)
{
	if (!imap_take_space(&arguments) || !imap_take_id_list(&arguments) ||
	    !imap_take_end(&arguments))
		return front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "ID takes NIL or a list of strings.");
	buf_add_string(out, "* ID (\"name\" \"Postcell\")" CRLF);
	say(front, out, "OK ID completed.");
	return FRONT_MORE;
}

static enum front_action
run_logout(struct front *front, struct slice arguments, struct buf *out)
{
	(void)arguments;
	buf_add_string(out, "* BYE Logging out." CRLF);
	say(front, out, "OK Logout completed.");
	front->closed_why = "client logged out";
	return FRONT_CLOSE;
}

static enum front_action
run_starttls(struct front *front, struct slice arguments, struct buf *out)
{
	(void)arguments;
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
		return front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "LOGIN takes a user name and a password.");
	if (credentials->user.size == 0 || credentials->password.size == 0) {
		say(front, out,
		    "NO [AUTHENTICATIONFAILED] Empty user name or password.");
		return FRONT_MORE;
	}
	return FRONT_LOGIN;
}

static enum front_action
run_authenticate(struct front *front, struct slice arguments, struct buf *out)
{
	struct slice name;

	if (!imap_take_space(&arguments) || !imap_take_atom(&arguments, &name))
		return front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "AUTHENTICATE takes a mechanism.");
	if (imap_take_end(&arguments))
		return front_sasl_begin(front, name, NULL, out);
	if (!imap_take_space(&arguments) || arguments.size <= 2)
		return front_complain(front, out, FRONT_FAULT_ARGUMENT,
		    "AUTHENTICATE takes one initial response.");
	arguments.size -= 2;
	return front_sasl_begin(front, name, &arguments, out);
}

static const struct front_command commands[] = {
	{ "CAPABILITY", FRONT_BARE, run_capability },
	{ "NOOP", FRONT_BARE, run_noop },
	{ "ID", 0, run_id },
	{ "LOGOUT", FRONT_BARE, run_logout },
	{ "STARTTLS", FRONT_BARE | FRONT_BEFORE_TLS, run_starttls },
	{ "LOGIN", FRONT_CREDENTIALS | FRONT_PASSWORD, run_login },
	{ "AUTHENTICATE", FRONT_CREDENTIALS, run_authenticate },
};

static enum front_action
imap_run(struct front *front, struct slice text, struct buf *out)
{
	struct imap_state *state = front->state;
	struct slice tag, name, rest;

	buf_clear(&state->tag);
	if (!imap_take_tag(&text, &tag))
		return front_complain(front, out, FRONT_FAULT_COMMAND,
		    "A command begins with a tag.");
	buf_add_slice(&state->tag, tag);
	if (!imap_take_space(&text) || !imap_take_atom(&text, &name))
		return front_complain(front, out, FRONT_FAULT_COMMAND,
		    "There is no command after the tag.");
	rest = text;
	return front_run(front, name, text, imap_take_end(&rest), out);
}

static enum front_action
imap_respond(struct front *front, struct slice text, struct buf *out)
{
	return front_sasl_respond(front, slice_first(text, text.size - 2), out);
}

/*
 * A client that waits for a reply with its tag must get one, so in a faulty
 * command the tag is looked for all the same; a faulty response is answered
 * with the exchange's tag.
 */
static enum front_unit
imap_take(struct front *front, struct slice *input, struct slice *text,
    struct buf *out, const char **why)
{
	struct imap_state *state = front->state;
	enum front_unit unit;
	struct slice tag, rest;

	while ((unit = front_unit_scan(&state->scanner, input, text, why)) ==
	       FRONT_UNIT_CONTINUE)
		buf_add_string(out, "+ OK" CRLF);
	if (front->in_sasl ||
	    (unit != FRONT_UNIT_FAULTY && unit != FRONT_UNIT_TOO_LARGE))
		return unit;
	buf_clear(&state->tag);
	rest = *text;
	if (imap_take_tag(&rest, &tag) && imap_take_space(&rest))
		buf_add_slice(&state->tag, tag);
	return unit;
}

static void
imap_open(struct front *front)
{
	struct imap_state *state = front->state;

	state->scanner.line_max = front->settings->line_size;
	state->scanner.literal_max = front->settings->literal_size;
	state->tag = buf_bounded(front->settings->line_size);
}

static void
imap_close(struct front *front)
{
	struct imap_state *state = front->state;

	buf_free(&state->tag);
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
imap_add_challenge(struct buf *out, struct slice base64)
{
	buf_add_string(out, "+ ");
	buf_add_slice(out, base64);
	buf_add_string(out, CRLF);
}

static void
imap_accept(struct front *front, struct slice reply, struct slice untagged,
    struct buf *out)
{
	buf_add_slice(out, untagged);
	imap_add_tag(front, out);
	buf_add_slice(out, reply);
	buf_add_string(out, CRLF);
}

const struct front_protocol imap_front = {
	.commands = commands,
	.command_count = ARRAY_SIZE(commands),
	.state_size = sizeof(struct imap_state),
	.starttls = "STARTTLS",
	.fault = "BAD ",
	.faults = {
		[FRONT_FAULT_SIZE] = "BAD [TOOBIG] ",
		[FRONT_FAULT_MECHANISM] = "NO [CANNOT] ",
		[FRONT_FAULT_PASSWORD] = "NO [CANNOT] ",
		[FRONT_FAULT_PRIVACY] = "NO [PRIVACYREQUIRED] ",
		[FRONT_FAULT_CREDENTIALS] = "NO [AUTHENTICATIONFAILED] ",
	},
	.bye = "* BYE ",
	.goodbye = "* BYE ",
	.refusals = {
		[REFUSAL_CREDENTIALS] =
		    "NO [AUTHENTICATIONFAILED] Authentication failed.",
		[REFUSAL_NOLOGIN] =
		    "NO [CONTACTADMIN] This account may not log in now. ",
		[REFUSAL_UNAVAILABLE] = "NO [UNAVAILABLE] ",
		[REFUSAL_LIMIT] = "NO [LIMIT] ",
	},
	.line_end = CRLF,
	.open = imap_open,
	.close = imap_close,
	.greet = imap_greet,
	.take = imap_take,
	.run = imap_run,
	.respond = imap_respond,
	.add_challenge = imap_add_challenge,
	.add_tag = imap_add_tag,
	.accept = imap_accept,
};
