#include "proxy/pop3_back.h"

#include "lib/base64.h"
#include "proxy/line.h"

#define CRLF "\r\n"

/* A command line with an initial response is no longer, RFC 5034 section 4. */
#define COMMAND_SIZE_MAX 255

/*
 * Nothing is asked before the login, so that it costs one round trip: XCLIENT
 * shows in the greeting, and AUTH PLAIN is simply tried. Only a server that
 * refuses it without saying that the credentials are wrong is asked what it
 * can do; one without SASL PLAIN gets USER and PASS.
 */
enum pop3_step {
	STEP_GREETING,
	STEP_STLS,
	STEP_XCLIENT, /* sent together with what follows */
	STEP_UTF8,    /* likewise */
	STEP_AUTH,    /* AUTH without initial response: "+" will come */
	STEP_INITIAL, /* AUTH with it: "+" may come from a server that ignores
			 it */
	STEP_REPLY,   /* all is said */
	STEP_CAPA,    /* asked what it can do: its first line will come */
	STEP_CAPA_LIST,
	STEP_USER,
	STEP_PASS
};

enum pop3_bit {
	BIT_XCLIENT = 1,   /* offered in the greeting */
	BIT_MECHANISM = 2, /* the one that is needed is offered */
	BIT_INITIAL = 4,   /* AUTH was sent with an initial response */
	BIT_CHALLENGED = 8 /* the server knows the mechanism */
};

static enum back_action
broken(struct back *back, const char *why)
{
	back->why = why;
	return BACK_BROKEN;
}

static bool
is_ok(struct slice line)
{
	return slice_starts_nocase(line, "+OK") &&
	       (line.size == 3 || line.data[3] == ' ');
}

static bool
is_error(struct slice line)
{
	return slice_starts_nocase(line, "-ERR") &&
	       (line.size == 4 || line.data[4] == ' ');
}

static void
add_auth(struct back *back, struct buf *out)
{
	struct buf initial = buf_bounded(out->size_max);

	sasl_add_initial(&initial, back->credentials, back->user);
	buf_printf(out, "AUTH %s", back_mechanism(back));
	if (initial.size + sizeof("AUTH SCRAM-SHA-256 " CRLF) <=
	    COMMAND_SIZE_MAX) {
		buf_add_char(out, ' ');
		buf_add_slice(out, buf_slice(&initial));
		back->capabilities |= BIT_INITIAL;
	}
	buf_add_string(out, CRLF);
	buf_wipe(&initial);
}

static enum back_action
ask_capabilities(struct back *back, struct buf *out)
{
	buf_add_string(out, "CAPA" CRLF);
	back->step = STEP_CAPA;
	return BACK_MORE;
}

static enum pop3_step
step_after_utf8(const struct back *back)
{
	return back->capabilities & BIT_INITIAL ? STEP_INITIAL : STEP_AUTH;
}

static enum back_action
log_in(struct back *back, struct buf *out)
{
	const struct back_client *client = back->client;

	if (back->offer)
		return ask_capabilities(back, out);
	if (back->capabilities & BIT_XCLIENT)
		buf_printf(out, "XCLIENT ADDR=%s PORT=%u SESSION=%s TTL=4" CRLF,
		    client->address, client->port, client->session);
	if (client->utf8)
		buf_add_string(out, "UTF8" CRLF);
	add_auth(back, out);
	if (back->capabilities & BIT_XCLIENT)
		back->step = STEP_XCLIENT;
	else if (client->utf8)
		back->step = STEP_UTF8;
	else
		back->step = (int)step_after_utf8(back);
	return BACK_MORE;
}

static enum back_action
take_greeting(struct back *back, struct slice line, struct buf *out)
{
	if (is_error(line)) {
		back->why = "back end greets with -ERR";
		return BACK_UNAVAILABLE;
	}
	if (!is_ok(line))
		return broken(back, "back end does not greet as POP3");
	if (slice_starts_nocase(line, "+OK [XCLIENT]"))
		back->capabilities |= BIT_XCLIENT;
	if (back->tls != SERVICE_TLS_STARTTLS || back->secured)
		return log_in(back, out);
	buf_add_string(out, "STLS" CRLF);
	back->step = STEP_STLS;
	return BACK_MORE;
}

static enum back_action
take_xclient(struct back *back, struct slice line, struct buf *out)
{
	(void)out;
	/* A refusal means that its log lacks the client's address. */
	if (!is_ok(line) && !is_error(line))
		return broken(back, "back end's reply is not +OK or -ERR");
	back->step =
	    back->client->utf8 ? STEP_UTF8 : (int)step_after_utf8(back);
	return BACK_MORE;
}

static enum back_action
take_utf8(struct back *back, struct slice line, struct buf *out)
{
	(void)out;
	if (!is_ok(line))
		return broken(back, "back end refuses UTF8, which was offered");
	back->step = (int)step_after_utf8(back);
	return BACK_MORE;
}

static enum back_action
refused(struct back *back, struct slice line)
{
	buf_clear(&back->reply);
	if (buf_add_slice(&back->reply, line) < 0)
		return broken(back, "back end's reply is too long");
	return BACK_REFUSED;
}

/* Does it say why in a way that we know? RFC 2449 section 8, RFC 3206. */
static bool
has_reason(struct slice line)
{
	static const char *const codes[] = { "-ERR [AUTH]", "-ERR [SYS/",
		"-ERR [IN-USE]", "-ERR [LOGIN-DELAY]" };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (slice_starts_nocase(line, codes[i]))
			return true;
	return false;
}

static enum back_action
take_reply(struct back *back, struct slice line, struct buf *out)
{
	if (is_ok(line))
		return buf_add_slice(&back->reply, line) == 0
			   ? BACK_ACCEPTED
			   : broken(back, "back end's reply is too long");
	if (!is_error(line))
		return broken(back, "back end's reply is not +OK or -ERR");
	if (has_reason(line) || back->step == STEP_PASS ||
	    back->capabilities & BIT_CHALLENGED)
		return refused(back, line);
	if (refused(back, line) == BACK_BROKEN)
		return BACK_BROKEN;
	return ask_capabilities(back, out);
}

/* The exchange of AUTH: what it asks for, or its reply. */
static enum back_action
take_auth(struct back *back, struct slice line, struct buf *out)
{
	bool relayed = sasl_is_relayed(back->credentials->mechanism);
	struct slice text;

	if (line.size == 0 || line.data[0] != '+' || is_ok(line)) {
		if (is_ok(line) && back->step == STEP_AUTH)
			return broken(back,
			    "back end accepts before it has the password");
		return take_reply(back, line, out);
	}
	text = slice_trim(slice_from_offset(line, 1));
	if (back->step == STEP_REPLY || (relayed && text.size > 0)) {
		back->step = STEP_REPLY;
		back->capabilities |= BIT_CHALLENGED;
		return back_take_challenge(back, text);
	}
	sasl_add_initial(out, back->credentials, back->user);
	buf_add_string(out, CRLF);
	back->step = STEP_REPLY;
	return BACK_MORE;
}

/* USER and PASS are lines: what would end one early is not sent. */
static enum back_action
try_user(struct back *back, struct buf *out)
{
	struct slice password = buf_slice(&back->credentials->password);

	if (sasl_back_mechanism(back->credentials) != SASL_PLAIN ||
	    back->credentials->authorise.size > 0)
		return broken(back,
		    "back end does not offer the mechanism that these credentials need");
	if (slice_find(password, '\r') != SIZE_MAX ||
	    slice_find(password, '\n') != SIZE_MAX ||
	    slice_find(back->user, '\r') != SIZE_MAX ||
	    slice_find(back->user, '\n') != SIZE_MAX)
		return broken(back,
		    "back end offers no SASL PLAIN, and PASS cannot say this password");
	buf_add_string(out, "USER ");
	buf_add_slice(out, back->user);
	buf_add_string(out, CRLF);
	back->step = STEP_USER;
	return BACK_MORE;
}

/* CAPA was answered: why was AUTH refused? */
static enum back_action
decide(struct back *back, struct buf *out)
{
	if (back->offer) {
		buf_add_string(out, "QUIT" CRLF);
		return BACK_ACCEPTED;
	}
	if (back->capabilities & BIT_MECHANISM)
		return BACK_REFUSED;
	buf_clear(&back->reply);
	return try_user(back, out);
}

static enum back_action
take_capa(struct back *back, struct slice line, struct buf *out)
{
	if (is_ok(line)) {
		back->step = STEP_CAPA_LIST;
		return BACK_MORE;
	}
	/* RFC 2449 section 5: -ERR means that there is no CAPA. */
	return is_error(line)
		   ? decide(back, out)
		   : broken(back, "back end's reply is not +OK or -ERR");
}

static enum back_action
take_capa_list(struct back *back, struct slice line, struct buf *out)
{
	struct slice words = slice_from_offset(line, 5);
	struct slice word;

	if (slice_is(line, "."))
		return decide(back, out);
	if (!back->offer) {
		while (slice_starts_nocase(line, "SASL ") &&
		       slice_next_word(&words, ' ', &word))
			if (slice_is_nocase(word, back_mechanism(back)))
				back->capabilities |= BIT_MECHANISM;
		return BACK_MORE;
	}
	buf_add_slice(back->offer, line);
	if (buf_add_char(back->offer, '\n') < 0)
		return broken(back, "back end has too many capabilities");
	return BACK_MORE;
}

static enum back_action
take_user(struct back *back, struct slice line, struct buf *out)
{
	if (is_error(line))
		return refused(back, line);
	if (!is_ok(line))
		return broken(back, "back end's reply is not +OK or -ERR");
	buf_add_string(out, "PASS ");
	buf_add_slice(out, buf_slice(&back->credentials->password));
	buf_add_string(out, CRLF);
	back->step = STEP_PASS;
	return BACK_MORE;
}

static enum back_action
take_stls(struct back *back, struct slice line, struct buf *out)
{
	(void)out;
	return is_ok(line) ? BACK_STARTTLS
			   : broken(back, "back end refuses STLS");
}

static enum back_action (*const steps[])(
    struct back *back, struct slice line, struct buf *out) = {
	[STEP_GREETING] = take_greeting,
	[STEP_STLS] = take_stls,
	[STEP_XCLIENT] = take_xclient,
	[STEP_UTF8] = take_utf8,
	[STEP_AUTH] = take_auth,
	[STEP_INITIAL] = take_auth,
	[STEP_REPLY] = take_auth,
	[STEP_CAPA] = take_capa,
	[STEP_CAPA_LIST] = take_capa_list,
	[STEP_USER] = take_user,
	[STEP_PASS] = take_reply,
};

static enum back_action
pop3_input(struct back *back, struct slice *input, struct buf *out)
{
	enum back_action action = BACK_MORE;

	while (action == BACK_MORE) {
		struct slice line;
		enum line_result result =
		    line_take(input, back->line_size, &line);

		if (result == LINE_MORE)
			return BACK_MORE;
		if (result != LINE_DONE)
			return broken(back, line_fault_text(result));
		if (!back_hear(back, line))
			return broken(back, BACK_HEARD_WHY);
		action = steps[back->step](back, line, out);
	}
	return action;
}

static enum back_action
pop3_secured(struct back *back, struct buf *out)
{
	back->secured = true;
	return log_in(back, out);
}

static void
pop3_respond(struct back *back, struct slice response, struct buf *out)
{
	(void)back;
	base64_encode(out, response);
	buf_add_string(out, CRLF);
}

const struct back_protocol pop3_back = {
	.service = SERVICE_POP3,
	.input = pop3_input,
	.secured = pop3_secured,
	.respond = pop3_respond,
};
