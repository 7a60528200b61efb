#include "proxy/sieve_back.h"

#include "lib/base64.h"
#include "proxy/imap_scan.h"
#include "proxy/sieve_string.h"

#define CRLF "\r\n"

enum sieve_step {
	STEP_GREETING, /* capabilities, then OK */
	STEP_STARTTLS,
	STEP_SECURED, /* capabilities again, then OK */
	STEP_XCLIENT, /* sent together with what follows */
	STEP_REPLY    /* all is said */
};

enum sieve_capability {
	CAPABILITY_STARTTLS = 1,
	CAPABILITY_XCLIENT = 2,
	CAPABILITY_MECHANISM = 4 /* the one that is needed */
};

static enum back_action
broken(struct back *back, const char *why)
{
	back->why = why;
	return BACK_BROKEN;
}

static void
read_mechanisms(struct back *back, struct slice list)
{
	struct slice word;

	while (!back->offer && slice_next_word(&list, ' ', &word))
		if (slice_is_nocase(word, back_mechanism(back)))
			back->capabilities |= CAPABILITY_MECHANISM;
}

static enum back_action
read_capability(struct back *back, struct slice name, struct slice value)
{
	if (slice_is_nocase(name, "STARTTLS"))
		back->capabilities |= CAPABILITY_STARTTLS;
	else if (slice_is_nocase(name, "XCLIENT"))
		back->capabilities |= CAPABILITY_XCLIENT;
	else if (slice_is_nocase(name, "SASL"))
		read_mechanisms(back, value);
	if (!back->offer || !slice_is_printable(name) ||
	    !slice_is_printable(value))
		return BACK_MORE;
	buf_add_slice(back->offer, name);
	buf_add_char(back->offer, ' ');
	buf_add_slice(back->offer, value);
	if (buf_add_char(back->offer, '\n') < 0)
		return broken(back, "back end has too many capabilities");
	return BACK_MORE;
}

/* "NAME" ["value"] */
static enum back_action
take_capability(struct back *back, struct slice line)
{
	struct buf name = buf_bounded(back->line_size);
	struct buf value = buf_bounded(back->line_size);
	bool is_good = sieve_take_string(&line, &name);
	enum back_action action;

	if (is_good && imap_take_space(&line))
		is_good = sieve_take_string(&line, &value);
	if (is_good && imap_take_end(&line))
		action =
		    read_capability(back, buf_slice(&name), buf_slice(&value));
	else
		action = broken(back, "back end's capability is malformed");
	buf_free(&name);
	buf_free(&value);
	return action;
}

static enum back_action
log_in(struct back *back, struct buf *out)
{
	const struct back_client *client = back->client;
	struct buf initial = buf_bounded(out->size_max);

	if (back->offer) {
		buf_add_string(out, "LOGOUT" CRLF);
		return BACK_ACCEPTED;
	}
	if (!(back->capabilities & CAPABILITY_MECHANISM))
		return broken(back, "back end does not offer the mechanism");
	back->step = STEP_REPLY;
	if (back->capabilities & CAPABILITY_XCLIENT) {
		buf_printf(out, "XCLIENT ADDR=%s PORT=%u SESSION=%s TTL=4" CRLF,
		    client->address, client->port, client->session);
		back->step = STEP_XCLIENT;
	}
	buf_printf(out, "AUTHENTICATE \"%s\" ", back_mechanism(back));
	sasl_add_initial(&initial, back->credentials, back->user);
	sieve_add_string(out, buf_slice(&initial), true);
	buf_add_string(out, CRLF);
	buf_wipe(&initial);
	return BACK_MORE;
}

static enum back_action
take_greeting(struct back *back, bool ok, struct buf *out)
{
	if (!ok)
		return broken(back, "back end does not greet as ManageSieve");
	if (back->tls != SERVICE_TLS_STARTTLS || back->secured)
		return log_in(back, out);
	if (!(back->capabilities & CAPABILITY_STARTTLS))
		return broken(back, "back end does not offer STARTTLS");
	buf_add_string(out, "STARTTLS" CRLF);
	back->step = STEP_STARTTLS;
	return BACK_MORE;
}

static enum back_action
take_reply(struct back *back, struct slice line, bool ok)
{
	buf_clear(&back->reply);
	if (buf_add_slice(&back->reply, slice_first(line, line.size - 2)) < 0)
		return broken(back, "back end's reply is too long");
	return ok ? BACK_ACCEPTED : BACK_REFUSED;
}

static enum back_action
take_answer(struct back *back, struct slice line, bool ok, struct buf *out)
{
	switch ((enum sieve_step)back->step) {
	case STEP_GREETING:
	case STEP_SECURED:
		return take_greeting(back, ok, out);
	case STEP_STARTTLS:
		return ok ? BACK_STARTTLS
			  : broken(back, "back end refuses STARTTLS");
	case STEP_XCLIENT:
		/* A refusal means that its log lacks the client's address. */
		back->step = STEP_REPLY;
		return BACK_MORE;
	case STEP_REPLY:
		break;
	}
	return take_reply(back, line, ok);
}

/* A string by itself is a challenge, RFC 5804 section 2.1 */
static enum back_action
take_challenge(struct back *back, struct slice line)
{
	struct buf text = buf_bounded(back->line_size);
	enum back_action action;

	if (back->step != STEP_REPLY)
		action = broken(back, "back end asks what makes no sense");
	else if (!sieve_take_string(&line, &text) || !imap_take_end(&line))
		action = broken(back, "back end's challenge is malformed");
	else
		action = back_take_challenge(back, buf_slice(&text));
	buf_free(&text);
	return action;
}

static enum back_action
take_line(struct back *back, struct slice line, struct buf *out)
{
	struct slice rest = line;
	struct slice word;

	if (line.data[0] == '"' || line.data[0] == '{') {
		return back->step == STEP_GREETING || back->step == STEP_SECURED
			   ? take_capability(back, line)
			   : take_challenge(back, line);
	}
	imap_take_atom(&rest, &word);
	if (slice_is_nocase(word, "BYE")) {
		back->why = "back end said BYE before login";
		return BACK_UNAVAILABLE;
	}
	if (!slice_is_nocase(word, "OK") && !slice_is_nocase(word, "NO"))
		return broken(back, "back end's reply is not OK, NO or BYE");
	return take_answer(back, line, slice_is_nocase(word, "OK"), out);
}

/* Its literals are {N}, after which it does not wait. */
static enum imap_scan
scan(const struct back *back, struct slice input, size_t *size)
{
	struct imap_scanner scanner = {
		.line_max = back->line_size,
		.literal_max = back->line_size,
	};
	enum imap_scan result;

	do
		result = imap_scan(&scanner, input, size);
	while (result == IMAP_SCAN_CONTINUE);
	return result;
}

static enum back_action
sieve_input(struct back *back, struct slice *input, struct buf *out)
{
	enum back_action action = BACK_MORE;

	while (action == BACK_MORE && input->size > 0) {
		size_t size = 0;
		enum imap_scan result = scan(back, *input, &size);
		struct slice line = slice_first(*input, size);

		if (result == IMAP_SCAN_MORE)
			return BACK_MORE;
		if (result == IMAP_SCAN_FLOOD ||
		    result == IMAP_SCAN_LITERAL_TOO_LARGE)
			return broken(back, "back end's line is too long");
		if (result != IMAP_SCAN_COMMAND)
			return broken(back,
			    "back end's line has a NUL, a CR or an LF by itself");
		*input = slice_from_offset(*input, size);
		if (!back_hear(back, line))
			return broken(back, BACK_HEARD_WHY);
		action = take_line(back, line, out);
	}
	return action;
}

/* What was said before TLS counts no more. */
static enum back_action
sieve_secured(struct back *back, struct buf *out)
{
	(void)out;
	back->secured = true;
	back->capabilities = 0;
	back->step = STEP_SECURED;
	if (back->offer)
		buf_clear(back->offer);
	return BACK_MORE;
}

static void
sieve_respond(struct back *back, struct slice response, struct buf *out)
{
	struct buf text = buf_bounded(out->size_max);

	(void)back;
	base64_encode(&text, response);
	sieve_add_string(out, buf_slice(&text), true);
	buf_add_string(out, CRLF);
	buf_wipe(&text);
}

const struct back_protocol sieve_back = {
	.service = SERVICE_SIEVE,
	.input = sieve_input,
	.secured = sieve_secured,
	.respond = sieve_respond,
};
