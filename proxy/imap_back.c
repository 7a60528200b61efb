#include "proxy/imap_back.h"

#include "lib/base64.h"
#include "proxy/imap_scan.h"

#define CRLF "\r\n"

/* Our tags, one for each command that we send. */
#define TAG_CAPABILITY "C"
#define TAG_STARTTLS   "S"
#define TAG_ID         "I"
#define TAG_LOGIN      "L"

enum imap_step {
	STEP_GREETING,
	STEP_CAPABILITY,   /* asked for them */
	STEP_STARTTLS,     /* asked for TLS */
	STEP_AUTHENTICATE, /* sent without initial response: "+" will come */
	STEP_LOGIN_USER,   /* LOGIN with literals: "+" for the name will come */
	STEP_LOGIN_PASSWORD, /* "+" for the password will come */
	STEP_REPLY           /* all is said */
};

enum imap_capability {
	CAPABILITY_KNOWN = 1,
	CAPABILITY_STARTTLS = 2,
	CAPABILITY_ID = 4,
	CAPABILITY_MECHANISM = 8, /* the one that is needed */
	CAPABILITY_SASL_IR = 16,
	CAPABILITY_LOGIN_DISABLED = 32
};

static const struct {
	const char *name;
	unsigned bit;
} capability_names[] = {
	{ "STARTTLS", CAPABILITY_STARTTLS },
	{ "ID", CAPABILITY_ID },
	{ "SASL-IR", CAPABILITY_SASL_IR },
	{ "LOGINDISABLED", CAPABILITY_LOGIN_DISABLED },
};

static enum back_action
broken(struct back *back, const char *why)
{
	back->why = why;
	return BACK_BROKEN;
}

/* Is that the first word of a reply? */
static bool
says(struct slice reply, const char *word)
{
	return slice_is_nocase(
	    slice_first(reply, slice_find(reply, ' ')), word);
}

/* "AUTH PLAIN ...", as other protocols' capabilities have it. */
static void
list_mechanisms(struct back *back, struct slice words)
{
	struct slice word;

	buf_clear(back->offer);
	buf_add_string(back->offer, "AUTH");
	while (slice_next_word(&words, ' ', &word)) {
		if (!slice_starts_nocase(word, "AUTH=") ||
		    !slice_is_printable(word))
			continue;
		buf_add_char(back->offer, ' ');
		buf_add_slice(back->offer, slice_from_offset(word, 5));
	}
	buf_add_char(back->offer, '\n');
}

/* list: words after CAPABILITY, up to "]" or the end. */
static void
read_capabilities(struct back *back, struct slice list)
{
	struct slice rest = slice_first(list, slice_find(list, ']'));
	struct slice word;

	back->capabilities = CAPABILITY_KNOWN;
	if (back->offer)
		list_mechanisms(back, rest);
	while (slice_next_word(&rest, ' ', &word)) {
		for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++)
			if (slice_is_nocase(word, capability_names[i].name))
				back->capabilities |= capability_names[i].bit;
		if (!back->offer && slice_starts_nocase(word, "AUTH=") &&
		    slice_is_nocase(
			slice_from_offset(word, 5), back_mechanism(back)))
			back->capabilities |= CAPABILITY_MECHANISM;
	}
}

static enum back_action
ask_capabilities(struct back *back, struct buf *out)
{
	buf_add_string(out, TAG_CAPABILITY " CAPABILITY" CRLF);
	back->step = STEP_CAPABILITY;
	return BACK_MORE;
}

/* The client's address for the back end's log; Dovecot's names for the fields.
 */
static void
add_id(const struct back *back, struct buf *out)
{
	const struct back_client *client = back->client;

	buf_add_string(out, TAG_ID " ID (\"x-originating-ip\" \"");
	buf_add_string(out, client->address);
	buf_add_string(out, "\" \"x-originating-port\" \"");
	buf_add_number(out, client->port);
	buf_add_string(out, "\" \"x-connected-ip\" \"");
	buf_add_string(out, client->local_address);
	buf_add_string(out, "\" \"x-connected-port\" \"");
	buf_add_number(out, client->local_port);
	buf_add_string(out, "\" \"x-session-id\" \"");
	buf_add_string(out, client->session);
	buf_add_string(out, "\" \"x-proxy-ttl\" \"4\")" CRLF);
}

/* LOGIN, with quoted strings where they can be said so, else with literals. */
static void
add_login(struct back *back, struct buf *out)
{
	buf_add_string(out, TAG_LOGIN " LOGIN ");
	if (imap_add_quoted(out, back->user)) {
		buf_add_char(out, ' ');
		back->step = STEP_REPLY;
		if (imap_add_quoted(
			out, buf_slice(&back->credentials->password))) {
			buf_add_string(out, CRLF);
			return;
		}
		buf_printf(out, "{%zu}" CRLF, back->credentials->password.size);
		back->step = STEP_LOGIN_PASSWORD;
		return;
	}
	buf_printf(out, "{%zu}" CRLF, back->user.size);
	back->step = STEP_LOGIN_USER;
}

static enum back_action
log_in(struct back *back, struct buf *out)
{
	if (back->capabilities & CAPABILITY_ID)
		add_id(back, out);
	if (!(back->capabilities & CAPABILITY_MECHANISM)) {
		if (sasl_back_mechanism(back->credentials) != SASL_PLAIN)
			return broken(
			    back, "back end does not offer the mechanism");
		if (back->capabilities & CAPABILITY_LOGIN_DISABLED)
			return broken(back,
			    "back end offers neither AUTH=PLAIN nor LOGIN");
		if (back->credentials->authorise.size > 0)
			return broken(back,
			    "back end offers no AUTH=PLAIN, which an authzid needs");
		add_login(back, out);
		return BACK_MORE;
	}
	buf_add_string(out, TAG_LOGIN " AUTHENTICATE ");
	buf_add_string(out, back_mechanism(back));
	back->step = STEP_AUTHENTICATE;
	if (back->capabilities & CAPABILITY_SASL_IR) {
		buf_add_char(out, ' ');
		sasl_add_initial(out, back->credentials, back->user);
		back->step = STEP_REPLY;
	}
	buf_add_string(out, CRLF);
	return BACK_MORE;
}

/* Nobody is to be logged in. */
static enum back_action
say_goodbye(struct buf *out)
{
	buf_add_string(out, "X LOGOUT" CRLF);
	return BACK_ACCEPTED;
}

/* Capabilities are known: TLS first where it is wanted, then the login. */
static enum back_action
proceed(struct back *back, struct buf *out)
{
	if (back->tls != SERVICE_TLS_STARTTLS || back->secured)
		return back->offer ? say_goodbye(out) : log_in(back, out);
	if (!(back->capabilities & CAPABILITY_STARTTLS))
		return broken(back, "back end does not offer STARTTLS");
	buf_add_string(out, TAG_STARTTLS " STARTTLS" CRLF);
	back->step = STEP_STARTTLS;
	return BACK_MORE;
}

/* "* OK [CAPABILITY ...] text", "* BYE ..."; PREAUTH would be another's
 * mailbox. */
static enum back_action
take_greeting(struct back *back, struct slice line, struct buf *out)
{
	if (slice_starts_nocase(line, "* BYE")) {
		back->why = "back end greets with BYE";
		return BACK_UNAVAILABLE;
	}
	if (slice_starts_nocase(line, "* PREAUTH"))
		return broken(back, "back end greets with PREAUTH");
	if (!slice_starts_nocase(line, "* OK "))
		return broken(back, "back end does not greet as IMAP");
	line = slice_from_offset(line, 5);
	/* With STARTTLS to come the list is not worth believing for anything
	 * else. */
	if (!slice_starts_nocase(line, "[CAPABILITY "))
		return ask_capabilities(back, out);
	read_capabilities(back, slice_from_offset(line, 12));
	return proceed(back, out);
}

static enum back_action
take_untagged(struct back *back, struct slice line)
{
	if (slice_starts_nocase(line, "* CAPABILITY ") &&
	    back->step == STEP_CAPABILITY) {
		read_capabilities(back, slice_from_offset(line, 13));
		return BACK_MORE;
	}
	if (slice_starts_nocase(line, "* BYE")) {
		back->why = "back end said BYE before login";
		return BACK_UNAVAILABLE;
	}
	if (back->step != STEP_REPLY || slice_starts_nocase(line, "* ID "))
		return BACK_MORE;
	buf_add_slice(&back->untagged, line);
	if (buf_add_string(&back->untagged, CRLF) < 0)
		return broken(back, "back end says too much before its reply");
	return BACK_MORE;
}

static enum back_action
take_continuation(struct back *back, struct slice line, struct buf *out)
{
	switch ((enum imap_step)back->step) {
	case STEP_AUTHENTICATE:
		sasl_add_initial(out, back->credentials, back->user);
		buf_add_string(out, CRLF);
		back->step = STEP_REPLY;
		return BACK_MORE;
	case STEP_LOGIN_USER:
		buf_add_slice(out, back->user);
		buf_printf(
		    out, " {%zu}" CRLF, back->credentials->password.size);
		back->step = STEP_LOGIN_PASSWORD;
		return BACK_MORE;
	case STEP_LOGIN_PASSWORD:
		buf_add_slice(out, buf_slice(&back->credentials->password));
		buf_add_string(out, CRLF);
		back->step = STEP_REPLY;
		return BACK_MORE;
	case STEP_REPLY:
		return back_take_challenge(
		    back, slice_trim(slice_from_offset(line, 1)));
	case STEP_GREETING:
	case STEP_CAPABILITY:
	case STEP_STARTTLS:
		break;
	}
	return broken(back, "back end asks for more than it was promised");
}

/* The reply to LOGIN or AUTHENTICATE; `reply` begins behind the tag. */
static enum back_action
take_login_reply(struct back *back, struct slice reply)
{
	buf_add_slice(&back->reply, reply);
	if (says(reply, "OK"))
		return back->step == STEP_REPLY
			   ? BACK_ACCEPTED
			   : broken(back,
				 "back end accepts before it has the password");
	if (says(reply, "NO") || says(reply, "BAD"))
		return BACK_REFUSED;
	return broken(back, "back end's reply is not OK, NO or BAD");
}

static enum back_action
take_tagged(struct back *back, struct slice line, struct buf *out)
{
	size_t space = slice_find(line, ' ');
	struct slice tag = slice_first(line, space);
	struct slice reply = space == SIZE_MAX
				 ? slice_from("")
				 : slice_from_offset(line, space + 1);
	bool ok = says(reply, "OK");

	if (slice_is(tag, TAG_LOGIN) && back->step >= STEP_AUTHENTICATE)
		return take_login_reply(back, reply);
	if (slice_is(tag, TAG_ID))
		return BACK_MORE;
	if (slice_is(tag, TAG_STARTTLS) && back->step == STEP_STARTTLS)
		return ok ? BACK_STARTTLS
			  : broken(back, "back end refuses STARTTLS");
	if (slice_is(tag, TAG_CAPABILITY) && back->step == STEP_CAPABILITY) {
		if (!ok || !(back->capabilities & CAPABILITY_KNOWN))
			return broken(
			    back, "back end does not tell its capabilities");
		return proceed(back, out);
	}
	return broken(back, "back end answers what was not asked");
}

static enum back_action
take_line(struct back *back, struct slice line, struct buf *out)
{
	if (back->step == STEP_GREETING)
		return take_greeting(back, line, out);
	if (line.size > 0 && line.data[0] == '+')
		return take_continuation(back, line, out);
	if (slice_starts_nocase(line, "* "))
		return take_untagged(back, line);
	return take_tagged(back, line, out);
}

static enum back_action
imap_input(struct back *back, struct slice *input, struct buf *out)
{
	enum back_action action = BACK_MORE;

	while (action == BACK_MORE) {
		size_t end = slice_find(*input, '\n');
		struct slice line = slice_first(*input, end);

		if (line.size > back->line_size)
			return broken(back, "back end's line is too long");
		if (end == SIZE_MAX)
			return BACK_MORE;
		*input = slice_from_offset(*input, end + 1);
		if (line.size > 0 && line.data[line.size - 1] == '\r')
			line.size--;
		if (slice_find(line, '\0') != SIZE_MAX ||
		    slice_find(line, '\r') != SIZE_MAX)
			return broken(back,
			    "back end's line has a NUL or a CR by itself");
		if (!back_hear(back, line))
			return broken(back, BACK_HEARD_WHY);
		action = take_line(back, line, out);
	}
	return action;
}

static enum back_action
imap_secured(struct back *back, struct buf *out)
{
	back->secured = true;
	/* What was said before TLS may have been anybody's. */
	back->capabilities = 0;
	return ask_capabilities(back, out);
}

static void
imap_respond(struct back *back, struct slice response, struct buf *out)
{
	(void)back;
	base64_encode(out, response);
	buf_add_string(out, CRLF);
}

const struct back_protocol imap_back = {
	.service = SERVICE_IMAP,
	.input = imap_input,
	.secured = imap_secured,
	.respond = imap_respond,
};
