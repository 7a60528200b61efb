#include "proxy/lmtp_back.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/connect.h"
#include "proxy/lmtp_parse.h"
#include "proxy/relay.h"

#define REPLY_SIZE_MAX   4096
#define OUT_SIZE_MAX     ((size_t)4 * 65536)
#define RESULT_TIMEOUT   600 /* s for each result, RFC 5321 section 4.5.3.2.6 */
#define EXPECTATIONS_MAX 8

/* What the next reply will be about. */
enum expectation {
	EXPECT_GREETING,
	EXPECT_LHLO,
	EXPECT_STARTTLS,
	EXPECT_MAIL,
	EXPECT_RECIPIENT,
	EXPECT_DATA,
	EXPECT_CHUNK,
	EXPECT_RESULT,
	EXPECT_RESET
};

enum phase {
	PHASE_CONNECTING,
	PHASE_TLS,
	PHASE_SPEAKING,
	PHASE_FAILED
};

struct lmtp_back {
	struct relay *relay; /* borrowed */
	struct route route;
	struct lmtp_client client;
	lmtp_tell *tell;
	void *context;
	enum phase phase;
	struct stream stream;
	struct event *event; /* owned; NULL until there is a socket */
	short events;
	struct event *timer; /* owned */
	struct resolve_query *query;
	struct address_list addresses;
	size_t address_next;
	struct buf in, out;
	enum expectation expected[EXPECTATIONS_MAX]; /* oldest first */
	size_t expected_count;
	size_t results; /* EXPECT_RESULTs still to come, beside expected[] */
	bool ready;     /* greeted; commands may be said */
	bool secured;
	bool in_transaction;
	bool mail_refused; /* its reply was told in place of the recipient's */
	struct buf mail, recipient; /* commands until it is ready; owned */
	bool has_chunking, has_size, has_8bitmime, has_dsn;
	bool in_data;        /* content is said whose end is a dot */
	bool last_chunk;     /* of what is said now */
	uint64_t chunk_left; /* octets of it that are still to be said */
};

static void connect_on(struct lmtp_back *back, const char *why);
static void shake_hands(struct lmtp_back *back);
static void on_event(evutil_socket_t fd, short what, void *context);

/* ---- expectations ---- */

static void
expect(struct lmtp_back *back, enum expectation expectation)
{
	assert(back->expected_count < EXPECTATIONS_MAX);
	back->expected[back->expected_count++] = expectation;
}

/* False when nothing is expected. */
static bool
take_expectation(struct lmtp_back *back, enum expectation *expectation)
{
	/* It need not hear a chunk to its end in order to refuse it. */
	*expectation = EXPECT_CHUNK;
	if (back->expected_count == 0 && back->results == 0)
		return back->chunk_left > 0;
	if (back->expected_count == 0) {
		back->results--;
		*expectation = EXPECT_RESULT;
		return true;
	}
	*expectation = back->expected[0];
	back->expected_count--;
	for (size_t i = 0; i < back->expected_count; i++)
		back->expected[i] = back->expected[i + 1];
	return true;
}

/* ---- events ---- */

static void
arm(struct lmtp_back *back)
{
	bool connecting = back->phase == PHASE_CONNECTING;
	short wanted = stream_events(
	    &back->stream, !connecting, connecting || back->out.size > 0);

	if (back->phase == PHASE_FAILED || wanted == back->events)
		return;
	if (back->events)
		event_del(back->event);
	back->events = wanted;
	event_assign(back->event, back->relay->base, back->stream.fd,
	    (short)(wanted | EV_PERSIST), on_event, back);
	if (event_add(back->event, NULL) < 0)
		abort();
}

static void
drop_socket(struct lmtp_back *back)
{
	if (back->events)
		event_del(back->event);
	back->events = 0;
	stream_close(&back->stream);
}

static void
wait_at_most(struct lmtp_back *back, long seconds)
{
	struct timeval time = { seconds, 0 };

	event_add(back->timer, &time);
}

void
lmtp_back_abandon(struct lmtp_back *back)
{
	drop_socket(back);
	resolve_cancel(&back->query);
	event_del(back->timer);
	back->phase = PHASE_FAILED;
	/* Nobody waits for what will never be taken. */
	buf_free(&back->out);
}

void
lmtp_back_fail(struct lmtp_back *back, const char *why)
{
	if (back->phase == PHASE_FAILED)
		return;
	lmtp_back_abandon(back);
	back->tell(back->context, back, LMTP_NEWS_FAILED, 0, slice_from(why));
}

/* Content that the server does not take must not wait for ever. */
static void
watch_content(struct lmtp_back *back, bool moved)
{
	if (lmtp_back_is_busy(back))
		return;
	if (back->out.size == 0)
		event_del(back->timer);
	else if (moved || !evtimer_pending(back->timer, NULL))
		wait_at_most(
		    back, back->relay->config->limits.write_stall_time);
}

/* False when it failed. */
static bool
flush(struct lmtp_back *back)
{
	size_t before = back->out.size;
	enum stream_result result = stream_flush(&back->stream, &back->out);

	if (back->out.failed) {
		lmtp_back_fail(back, "too much waits for the server");
		return false;
	}
	if (result != STREAM_DONE && result != STREAM_AGAIN) {
		lmtp_back_fail(back, stream_why(&back->stream));
		return false;
	}
	arm(back);
	watch_content(back, before > back->out.size);
	if (before > back->out.size)
		back->tell(
		    back->context, back, LMTP_NEWS_ROOM, 0, slice_from(""));
	return back->phase != PHASE_FAILED;
}

/* ---- what the server says ---- */

static void
say(struct lmtp_back *back, enum expectation expectation, const char *command)
{
	expect(back, expectation);
	buf_printf(&back->out, "%s\r\n", command);
	wait_at_most(back, back->relay->config->backend.reply_timeout);
}

static void
begin_tls(struct lmtp_back *back)
{
	buf_free(&back->in);
	if (stream_tls_client(&back->stream,
		back->relay->settings->back_context, back->route.host) < 0) {
		lmtp_back_fail(back, "out of memory");
		return;
	}
	back->phase = PHASE_TLS;
	wait_at_most(back, back->relay->config->backend.reply_timeout);
	shake_hands(back);
}

/* What it does not offer it would refuse the whole command for. */
static bool
is_understood(const struct lmtp_back *back, struct slice parameter)
{
	if (slice_starts_nocase(parameter, "SIZE="))
		return back->has_size;
	if (slice_starts_nocase(parameter, "BODY="))
		return back->has_8bitmime;
	return true;
}

/* The path, which may hold spaces, and the parameters that are understood. */
static void
add_mail(struct lmtp_back *back, struct slice mail)
{
	struct slice rest = slice_from_offset(mail, strlen("MAIL "));
	struct slice path, address, word;

	if (!lmtp_take_path(&rest, "FROM:", &path, &address))
		path = slice_from("<>");
	buf_add_string(&back->out, "MAIL FROM:");
	buf_add_slice(&back->out, path);
	while (slice_next_word(&rest, ' ', &word)) {
		if (!is_understood(back, word))
			continue;
		buf_add_char(&back->out, ' ');
		buf_add_slice(&back->out, word);
	}
	buf_add_string(&back->out, "\r\n");
}

/* Those of MAIL and RCPT that RFC 3461 has: whoever drops them would promise a
 * report that nobody makes. */
static bool
wants_report(struct slice command)
{
	static const char *const keywords[] = { "RET", "ENVID", "NOTIFY",
		"ORCPT" };
	struct slice rest = slice_from_offset(command, strlen("MAIL "));
	struct slice path, address, value;

	if (!lmtp_take_path(&rest, "FROM:", &path, &address) &&
	    !lmtp_take_path(&rest, "TO:", &path, &address))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		if (lmtp_find_parameter(rest, keywords[i], &value))
			return true;
	return false;
}

static void
say_recipient(struct lmtp_back *back, struct slice mail, struct slice recipient)
{
	if (!back->has_dsn && (wants_report(mail) || wants_report(recipient))) {
		back->tell(back->context, back, LMTP_NEWS_RECIPIENT, 555,
		    slice_from("555 5.5.4 DSN is not offered here."));
		return;
	}
	if (mail.size > 0) {
		expect(back, EXPECT_MAIL);
		add_mail(back, mail);
	}
	expect(back, EXPECT_RECIPIENT);
	buf_add_slice(&back->out, recipient);
	buf_add_string(&back->out, "\r\n");
	wait_at_most(back, back->relay->config->backend.reply_timeout);
}

/* Ready for commands: says those that waited. */
static void
become_ready(struct lmtp_back *back)
{
	back->ready = true;
	event_del(back->timer);
	if (back->recipient.size > 0)
		say_recipient(
		    back, buf_slice(&back->mail), buf_slice(&back->recipient));
	buf_free(&back->mail);
	buf_free(&back->recipient);
}

static void
say_hello(struct lmtp_back *back)
{
	struct buf hello = buf_bounded(512);

	buf_printf(&hello, "%s %s", lmtp_back_is_smtp(back) ? "EHLO" : "LHLO",
	    back->relay->config->host_name);
	say(back, EXPECT_LHLO, buf_string(&hello));
	buf_free(&hello);
}

static void
take_hello(struct lmtp_back *back, const struct lmtp_reply *reply)
{
	bool wants_tls =
	    back->route.tls == SERVICE_TLS_STARTTLS && !back->secured;

	if (reply->code != 250) {
		lmtp_back_fail(back, "the server refuses LHLO");
		return;
	}
	back->has_chunking = lmtp_reply_offers(reply->text, "CHUNKING");
	back->has_size = lmtp_reply_offers(reply->text, "SIZE");
	back->has_8bitmime = lmtp_reply_offers(reply->text, "8BITMIME");
	back->has_dsn = lmtp_reply_offers(reply->text, "DSN");
	if (!wants_tls) {
		become_ready(back);
		return;
	}
	if (!lmtp_reply_offers(reply->text, "STARTTLS")) {
		lmtp_back_fail(back, "the server does not offer STARTTLS");
		return;
	}
	say(back, EXPECT_STARTTLS, "STARTTLS");
}

/* One that came before all octets were said: what is left must not be taken for
 * commands. */
static void
take_chunk_reply(struct lmtp_back *back, const struct lmtp_reply *reply)
{
	bool early = back->chunk_left > 0;

	if (early && reply->code / 100 == 2) {
		lmtp_back_fail(back, "the server takes what was not said yet");
		return;
	}
	if (early)
		lmtp_back_abandon(back);
	back->tell(
	    back->context, back, LMTP_NEWS_CHUNK, reply->code, reply->text);
}

static void
take_reply(struct lmtp_back *back, enum expectation expectation,
    const struct lmtp_reply *reply)
{
	switch (expectation) {
	case EXPECT_GREETING:
		if (reply->code == 220)
			say_hello(back);
		else
			lmtp_back_fail(
			    back, "the server does not greet with 220");
		break;
	case EXPECT_LHLO:
		take_hello(back, reply);
		break;
	case EXPECT_STARTTLS:
		if (reply->code == 220)
			begin_tls(back);
		else
			lmtp_back_fail(back, "the server refuses STARTTLS");
		break;
	case EXPECT_MAIL:
		back->mail_refused = reply->code != 250;
		back->in_transaction = !back->mail_refused;
		if (back->mail_refused)
			back->tell(back->context, back, LMTP_NEWS_RECIPIENT,
			    reply->code, reply->text);
		break;
	case EXPECT_RECIPIENT:
		/* Without MAIL the server only complains about the order. */
		if (!back->mail_refused)
			back->tell(back->context, back, LMTP_NEWS_RECIPIENT,
			    reply->code, reply->text);
		back->mail_refused = false;
		break;
	case EXPECT_DATA:
		back->in_data = reply->code == 354;
		back->tell(back->context, back, LMTP_NEWS_DATA, reply->code,
		    reply->text);
		break;
	case EXPECT_CHUNK:
		take_chunk_reply(back, reply);
		break;
	case EXPECT_RESULT:
		back->in_transaction = back->results > 0;
		back->tell(back->context, back, LMTP_NEWS_RESULT, reply->code,
		    reply->text);
		break;
	case EXPECT_RESET:
		break;
	}
}

static void
read_replies(struct lmtp_back *back)
{
	struct slice input = buf_slice(&back->in);
	enum lmtp_reply_result result;
	enum expectation expectation;
	struct lmtp_reply reply;

	while ((result = lmtp_take_reply(&input, REPLY_SIZE_MAX, &reply)) ==
	       LMTP_REPLY_DONE) {
		if (!take_expectation(back, &expectation)) {
			lmtp_back_fail(
			    back, "the server answers what was not asked");
			return;
		}
		if (!lmtp_back_is_busy(back))
			event_del(back->timer);
		else if (expectation == EXPECT_RESULT)
			wait_at_most(back, RESULT_TIMEOUT);
		/* A reply before TLS must be the last thing said before TLS. */
		if (expectation == EXPECT_STARTTLS && input.size > 0) {
			lmtp_back_fail(back, "the server speaks on before TLS");
			return;
		}
		take_reply(back, expectation, &reply);
		if (back->phase != PHASE_SPEAKING)
			return;
	}
	if (result == LMTP_REPLY_BAD) {
		lmtp_back_fail(back, "the server does not speak LMTP");
		return;
	}
	buf_consume(&back->in, back->in.size - input.size);
}

static void
speak(struct lmtp_back *back)
{
	do {
		enum stream_result result =
		    stream_fill(&back->stream, &back->in, REPLY_SIZE_MAX);

		if (result == STREAM_AGAIN)
			break;
		if (result != STREAM_DONE) {
			lmtp_back_fail(back, result == STREAM_END
						 ? "the server closed"
						 : stream_why(&back->stream));
			return;
		}
		read_replies(back);
	} while (
	    back->phase == PHASE_SPEAKING && stream_has_pending(&back->stream));
	if (back->phase == PHASE_SPEAKING)
		flush(back);
}

/* ---- connecting ---- */

static void
shake_hands(struct lmtp_back *back)
{
	enum stream_result result = stream_handshake(&back->stream);

	if (result == STREAM_AGAIN) {
		arm(back);
		return;
	}
	if (result != STREAM_DONE) {
		lmtp_back_fail(back, stream_why(&back->stream));
		return;
	}
	back->phase = PHASE_SPEAKING;
	back->secured = true;
	if (back->route.tls == SERVICE_TLS_STARTTLS)
		say_hello(back);
	speak(back);
}

static void
finish_connect(struct lmtp_back *back)
{
	int error = connect_finish(&back->stream);

	if (error == 0 && back->route.proxy_header)
		error = connect_introduce(
		    &back->stream, back->client.client, back->client.local);
	if (error != 0) {
		connect_on(back, strerrordesc_np(error));
		return;
	}
	wait_at_most(back, back->relay->config->backend.reply_timeout);
	if (back->route.tls == SERVICE_TLS_IMPLICIT) {
		begin_tls(back);
		return;
	}
	back->phase = PHASE_SPEAKING;
	arm(back);
}

static void
on_event(evutil_socket_t fd, short what, void *context)
{
	struct lmtp_back *back = context;

	(void)fd;
	(void)what;
	switch (back->phase) {
	case PHASE_CONNECTING:
		finish_connect(back);
		break;
	case PHASE_TLS:
		shake_hands(back);
		break;
	case PHASE_SPEAKING:
		speak(back);
		break;
	case PHASE_FAILED:
		break;
	}
}

/* why: what came of the attempt before, static. */
static void
connect_on(struct lmtp_back *back, const char *why)
{
	int error = 0;

	drop_socket(back);
	if (connect_next(&back->stream, &back->addresses, &back->address_next,
		back->route.port, &error)) {
		back->phase = PHASE_CONNECTING;
		wait_at_most(
		    back, back->relay->config->backend.connect_timeout);
		arm(back);
		return;
	}
	lmtp_back_fail(back, error != 0 ? strerrordesc_np(error) : why);
}

static void
on_resolved(void *context, const struct address_list *list, const char *why)
{
	struct lmtp_back *back = context;

	back->query = NULL;
	back->addresses = *list;
	connect_on(back, why);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	struct lmtp_back *back = context;

	(void)fd;
	(void)what;
	if (back->phase == PHASE_CONNECTING && back->stream.fd >= 0) {
		connect_on(back, strerrordesc_np(ETIMEDOUT));
		return;
	}
	if (back->phase == PHASE_CONNECTING && !back->query) {
		back->query = resolve(
		    back->relay->resolver, back->route.host, on_resolved, back);
		return;
	}
	lmtp_back_fail(back, "the server does not answer");
}

/* ---- for the owner ---- */

struct lmtp_back *
lmtp_back_new(struct relay *relay, const struct route *route,
    struct lmtp_client client, lmtp_tell *tell, void *context)
{
	struct lmtp_back *back = calloc(1, sizeof(*back));
	struct timeval now = { 0, 0 };

	if (!back)
		return NULL;
	back->relay = relay;
	back->route = *route;
	back->client = client;
	back->tell = tell;
	back->context = context;
	back->stream.fd = -1;
	back->in = buf_bounded((size_t)2 * REPLY_SIZE_MAX);
	back->out = buf_bounded(OUT_SIZE_MAX);
	back->mail = buf_bounded(OUT_SIZE_MAX);
	back->recipient = buf_bounded(OUT_SIZE_MAX);
	back->event = event_new(relay->base, -1, 0, on_event, back);
	back->timer = evtimer_new(relay->base, on_timer, back);
	if (!back->event || !back->timer)
		abort();
	expect(back, EXPECT_GREETING);
	/* From the loop: whoever made it is not told before he has it. */
	event_add(back->timer, &now);
	return back;
}

void
lmtp_back_free(struct lmtp_back **back)
{
	struct lmtp_back *old = *back;

	*back = NULL;
	if (!old)
		return;
	resolve_cancel(&old->query);
	drop_socket(old);
	event_free(old->event);
	event_free(old->timer);
	buf_free(&old->in);
	buf_free(&old->out);
	buf_free(&old->mail);
	buf_free(&old->recipient);
	free(old);
}

const char *
lmtp_back_server(const struct lmtp_back *back)
{
	return back->route.server;
}

bool
lmtp_back_is_busy(const struct lmtp_back *back)
{
	return back->expected_count > 0 || back->results > 0;
}

bool
lmtp_back_has_failed(const struct lmtp_back *back)
{
	return back->phase == PHASE_FAILED;
}

bool
lmtp_back_takes_chunks(const struct lmtp_back *back)
{
	return back->has_chunking;
}

bool
lmtp_back_is_smtp(const struct lmtp_back *back)
{
	return back->route.service == SERVICE_SMTP;
}

void
lmtp_back_recipient(
    struct lmtp_back *back, struct slice mail, struct slice recipient)
{
	if (back->in_transaction)
		mail = slice_from("");
	if (back->ready) {
		say_recipient(back, mail, recipient);
		flush(back);
		return;
	}
	buf_clear(&back->mail);
	buf_clear(&back->recipient);
	buf_add_slice(&back->mail, mail);
	buf_add_slice(&back->recipient, recipient);
}

void
lmtp_back_data(struct lmtp_back *back)
{
	say(back, EXPECT_DATA, "DATA");
	flush(back);
}

/* All octets of a chunk are said: the server says what it thinks of it. */
static void
end_chunk(struct lmtp_back *back)
{
	if (back->chunk_left > 0 || back->last_chunk)
		return;
	expect(back, EXPECT_CHUNK);
	wait_at_most(back, back->relay->config->limits.write_stall_time);
}

void
lmtp_back_chunk(struct lmtp_back *back, uint64_t size, bool last)
{
	back->chunk_left = size;
	back->last_chunk = last;
	buf_printf(
	    &back->out, "BDAT %" PRIu64 "%s\r\n", size, last ? " LAST" : "");
	end_chunk(back);
	flush(back);
}

void
lmtp_back_content(struct lmtp_back *back, struct slice content)
{
	buf_add_slice(&back->out, content);
	if (back->chunk_left > 0) {
		assert(content.size <= back->chunk_left);
		back->chunk_left -= content.size;
		end_chunk(back);
	}
	flush(back);
}

size_t
lmtp_back_waiting(const struct lmtp_back *back)
{
	return back->out.size;
}

void
lmtp_back_finish(struct lmtp_back *back, size_t count)
{
	back->results = lmtp_back_is_smtp(back) ? 1 : count;
	back->in_data = false;
	wait_at_most(back, RESULT_TIMEOUT);
}

void
lmtp_back_reset(struct lmtp_back *back)
{
	if (!back->in_transaction || back->phase != PHASE_SPEAKING)
		return;
	if (back->in_data || back->chunk_left > 0 || back->results > 0) {
		lmtp_back_abandon(back);
		return;
	}
	back->in_transaction = false;
	say(back, EXPECT_RESET, "RSET");
	flush(back);
}
