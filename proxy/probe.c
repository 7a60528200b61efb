#include "proxy/probe.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/query.h"
#include "proxy/back.h"
#include "proxy/connect.h"
#include "proxy/stream.h"

#define CRLF            "\r\n"
#define PROBE_LINE_SIZE 8192
#define PROBE_CHUNK     4096

enum probe_state {
	STATE_CONNECT,
	STATE_TLS,
	STATE_GREETING, /* the greeting, or the only answer there is */
	STATE_HELLO,    /* the answer to what we call ourselves */
	STATE_STARTTLS, /* the answer to STARTTLS */
	STATE_BACK,     /* the back end's machine logs in */
	STATE_SELECT,   /* the answer to SELECT */
	STATE_OVER
};

struct probe {
	struct probe_request request;
	probe_done *done;
	void *context; /* borrowed */
	enum probe_state state;
	struct stream stream;
	struct event_base *base;     /* borrowed */
	struct event *io, *deadline; /* owned */
	struct event *finish;        /* owned: tells the result */
	size_t address_next;
	struct buf in, out; /* owned; may hold secrets */
	struct back back;
	struct back_client client;
	char client_address[INET6_ADDRSTRLEN];
	enum probe_result result;
	const char *why; /* static */
};

/* What is said until a protocol's greeting is there and TLS begins. */
static const struct talk {
	const char *greeting; /* how its last line begins */
	const char *more;     /* how lines before the last may begin */
	const char *hello, *welcome, *more_welcome;
	const char *starttls, *ready;
	const char *bye;
} talks[SERVICE_KIND_COUNT] = {
	[SERVICE_IMAP] = { "* OK", NULL, NULL, NULL, NULL, "S STARTTLS" CRLF,
	    "S OK", "X LOGOUT" CRLF },
	[SERVICE_POP3] = { "+OK", NULL, NULL, NULL, NULL, "STLS" CRLF, "+OK",
	    "QUIT" CRLF },
	[SERVICE_SUBMISSION] = { "220 ", "220-", "EHLO localhost" CRLF, "250 ",
	    "250-", "STARTTLS" CRLF, "220 ", "QUIT" CRLF },
	[SERVICE_SMTP] = { "220 ", "220-", "EHLO localhost" CRLF, "250 ",
	    "250-", "STARTTLS" CRLF, "220 ", "QUIT" CRLF },
	[SERVICE_LMTP] = { "220 ", "220-", "LHLO localhost" CRLF, "250 ",
	    "250-", "STARTTLS" CRLF, "220 ", "QUIT" CRLF },
	[SERVICE_SIEVE] = { "OK", "\"", NULL, NULL, NULL, "STARTTLS" CRLF, "OK",
	    "LOGOUT" CRLF },
};

bool
probe_can(enum service_kind kind)
{
	return talks[kind].greeting || query_text(kind).size > 0;
}

bool
probe_can_log_in(enum service_kind kind)
{
	return back_protocol(kind) != NULL;
}

static bool
speaks_lines(const struct probe *probe)
{
	return talks[probe->request.kind].greeting != NULL;
}

/* ---- the end ---- */

static void
on_finish(evutil_socket_t fd, short what, void *context)
{
	struct probe *probe = context;

	(void)fd;
	(void)what;
	probe->done(probe->context, probe->result, probe->why);
}

/* done is called from the loop, whoever found out. */
static void
end(struct probe *probe, enum probe_result result, const char *why)
{
	if (probe->state == STATE_OVER)
		return;
	probe->state = STATE_OVER;
	probe->result = result;
	probe->why = why;
	event_del(probe->deadline);
	if (probe->io)
		event_del(probe->io);
	event_active(probe->finish, EV_TIMEOUT, 0);
}

static void
on_deadline(evutil_socket_t fd, short what, void *context)
{
	static const char *const whys[] = {
		[STATE_CONNECT] = "connection timed out",
		[STATE_TLS] = "no TLS in time",
		[STATE_GREETING] = "no greeting in time",
		[STATE_HELLO] = "no answer in time",
		[STATE_STARTTLS] = "no answer to STARTTLS in time",
		[STATE_BACK] = "no login in time",
		[STATE_SELECT] = "no mailbox in time",
		[STATE_OVER] = "over",
	};
	struct probe *probe = context;

	(void)fd;
	(void)what;
	end(probe, PROBE_SILENT, whys[probe->state]);
}

/* Says goodbye, which nobody waits for. */
static void
end_good(struct probe *probe)
{
	const char *bye = talks[probe->request.kind].bye;
	size_t moved;

	if (bye)
		(void)stream_write(&probe->stream, bye, strlen(bye), &moved);
	stream_finish(&probe->stream);
	end(probe, PROBE_GOOD, "good");
}

/* ---- octets ---- */

static void on_io(evutil_socket_t fd, short what, void *context);

static void
arm(struct probe *probe)
{
	bool writes = probe->out.size > 0 || probe->state == STATE_CONNECT;
	short events = stream_events(&probe->stream, !writes, writes);

	if (probe->state == STATE_OVER)
		return;
	if (probe->state == STATE_TLS)
		events = stream_events(&probe->stream, true, false);
	if (probe->io)
		event_free(probe->io);
	probe->io =
	    event_new(probe->base, probe->stream.fd, events, on_io, probe);
	if (!probe->io || event_add(probe->io, NULL) < 0)
		end(probe, PROBE_NONE, "out of memory");
}

/* False when the probe is over. */
static bool
flush(struct probe *probe)
{
	size_t moved;

	while (probe->out.size > 0) {
		switch (stream_write(
		    &probe->stream, probe->out.data, probe->out.size, &moved)) {
		case STREAM_DONE:
			buf_consume(&probe->out, moved);
			break;
		case STREAM_AGAIN:
			return true;
		case STREAM_END:
		case STREAM_FAILED:
			end(probe, PROBE_SILENT, stream_why(&probe->stream));
			return false;
		}
	}
	buf_wipe(&probe->out);
	return true;
}

/* Sends something and waits in that state for the answer. */
static void
ask(struct probe *probe, enum probe_state state, const char *text, size_t size)
{
	probe->state = state;
	buf_add(&probe->out, text, size);
	if (flush(probe))
		arm(probe);
}

/* ---- TLS ---- */

static void take_input(struct probe *probe);

static void begin_talk(struct probe *probe);
static void read_some(struct probe *probe);

static void
go_on_tls(struct probe *probe)
{
	switch (stream_handshake(&probe->stream)) {
	case STREAM_AGAIN:
		arm(probe);
		return;
	case STREAM_END:
	case STREAM_FAILED:
		end(probe, PROBE_SILENT, stream_why(&probe->stream));
		return;
	case STREAM_DONE:
		break;
	}
	if (probe->back.protocol) {
		probe->state = STATE_BACK;
		if (probe->back.tls == SERVICE_TLS_STARTTLS)
			probe->back.protocol->secured(
			    &probe->back, &probe->out);
		/* The greeting may have come with the end of the handshake. */
		if (flush(probe))
			read_some(probe);
	} else if (probe->request.tls == SERVICE_TLS_STARTTLS) {
		end_good(probe);
	} else {
		begin_talk(probe);
	}
}

static void
begin_tls(struct probe *probe)
{
	buf_free(&probe->in);
	probe->state = STATE_TLS;
	if (stream_tls_client(&probe->stream, probe->request.context,
		probe->request.host) < 0) {
		end(probe, PROBE_NONE, "out of memory");
		return;
	}
	go_on_tls(probe);
}

/* ---- what is said ---- */

static void
fill_client(struct probe *probe)
{
	union address address;
	socklen_t size = sizeof(address);

	memset(&address, 0, sizeof(address));
	if (getsockname(probe->stream.fd, &address.any, &size) == 0)
		address_text(&address, probe->client_address,
		    sizeof(probe->client_address));
	probe->client = (struct back_client){
		.address = probe->client_address,
		.port = address_port(&address),
		.local_address = probe->client_address,
		.local_port = address_port(&address),
		.session = "probe",
		.host_name = probe->request.name,
		.hello = "",
	};
}

/* The connection stands, and is encrypted when that is implicit. */
static void
begin_talk(struct probe *probe)
{
	const struct probe_request *request = &probe->request;

	probe->state = STATE_GREETING;
	if (request->depth == PROBE_LOGIN) {
		fill_client(probe);
		back_open(&probe->back, back_protocol(request->kind),
		    &probe->client, request->credentials,
		    buf_slice(&request->credentials->user), request->tls,
		    PROBE_LINE_SIZE);
		probe->state = STATE_BACK;
		arm(probe);
	} else if (speaks_lines(probe)) {
		arm(probe);
	} else {
		struct slice query = query_text(request->kind);

		ask(probe, STATE_GREETING, query.data, query.size);
	}
}

static void
begin(struct probe *probe)
{
	if (probe->request.tls != SERVICE_TLS_IMPLICIT)
		begin_talk(probe);
	else if (probe->request.depth == PROBE_CONNECT)
		end_good(probe);
	else
		begin_tls(probe);
}

static void
greeted(struct probe *probe)
{
	const struct talk *talk = &talks[probe->request.kind];

	if (probe->request.tls != SERVICE_TLS_STARTTLS ||
	    probe->request.depth == PROBE_CONNECT)
		end_good(probe);
	else if (talk->hello && probe->state == STATE_GREETING)
		ask(probe, STATE_HELLO, talk->hello, strlen(talk->hello));
	else
		ask(probe, STATE_STARTTLS, talk->starttls,
		    strlen(talk->starttls));
}

static bool
starts(struct slice line, const char *prefix)
{
	return prefix && slice_starts_nocase(line, prefix);
}

static void
take_line(struct probe *probe, struct slice line)
{
	const struct talk *talk = &talks[probe->request.kind];

	switch (probe->state) {
	case STATE_GREETING:
		if (starts(line, talk->greeting))
			greeted(probe);
		else if (!starts(line, talk->more))
			end(probe, PROBE_SILENT,
			    "it does not greet as it should");
		return;
	case STATE_HELLO:
		if (starts(line, talk->welcome))
			greeted(probe);
		else if (!starts(line, talk->more_welcome))
			end(probe, PROBE_SILENT, "it does not take EHLO");
		return;
	case STATE_STARTTLS:
		if (starts(line, talk->ready))
			begin_tls(probe);
		else if (!starts(line, "* "))
			end(probe, PROBE_SILENT, "it refuses STARTTLS");
		return;
	case STATE_SELECT:
		if (starts(line, "P OK"))
			end_good(probe);
		else if (starts(line, "P "))
			end(probe, PROBE_SILENT, "it refuses the mailbox");
		else if (starts(line, "* BYE"))
			end(probe, PROBE_SILENT, "it says BYE after login");
		return;
	case STATE_CONNECT:
	case STATE_TLS:
	case STATE_BACK:
	case STATE_OVER:
		return;
	}
}

/* Whole lines, until one of them leads to another state of octets. */
static void
take_lines(struct probe *probe)
{
	while (probe->state >= STATE_GREETING && probe->state != STATE_BACK &&
	       probe->state != STATE_OVER) {
		struct slice input = buf_slice(&probe->in);
		size_t line_end = slice_find(input, '\n');
		struct slice line = slice_first(input, line_end);
		struct buf copy = buf_bounded(PROBE_LINE_SIZE);

		if (line_end == SIZE_MAX)
			return;
		buf_add_slice(&copy, line);
		buf_consume(&probe->in, line_end + 1);
		take_line(probe, buf_slice(&copy));
		buf_free(&copy);
	}
}

static void
take_octets(struct probe *probe)
{
	switch (query_check(probe->request.kind, buf_slice(&probe->in))) {
	case QUERY_MORE:
		return;
	case QUERY_GOOD:
		end_good(probe);
		return;
	case QUERY_BAD:
		end(probe, PROBE_SILENT, "it answers something else");
		return;
	}
}

static void
take_back(struct probe *probe)
{
	struct slice input = buf_slice(&probe->in);
	size_t before = input.size;
	enum back_action action =
	    probe->back.protocol->input(&probe->back, &input, &probe->out);

	buf_consume(&probe->in, before - input.size);
	switch (action) {
	case BACK_MORE:
		(void)flush(probe);
		return;
	case BACK_STARTTLS:
		begin_tls(probe);
		return;
	case BACK_ACCEPTED:
		if (probe->request.kind == SERVICE_IMAP)
			ask(probe, STATE_SELECT, "P SELECT INBOX" CRLF, 16);
		else
			end_good(probe);
		return;
	case BACK_REFUSED:
		end(probe, PROBE_SILENT, "it refuses the probe's login");
		return;
	case BACK_CHALLENGE:
	case BACK_UNAVAILABLE:
	case BACK_BROKEN:
		end(probe, PROBE_SILENT, probe->back.why);
		return;
	}
}

static void
take_input(struct probe *probe)
{
	if (probe->state == STATE_BACK)
		take_back(probe);
	else if (speaks_lines(probe))
		take_lines(probe);
	else
		take_octets(probe);
}

static void
read_some(struct probe *probe)
{
	enum stream_result result;
	size_t moved = 0;
	char *room;

	do {
		room = buf_reserve(&probe->in, PROBE_CHUNK);
		if (!room) {
			end(probe, PROBE_SILENT, "its line is too long");
			return;
		}
		result = stream_read(&probe->stream, room, PROBE_CHUNK, &moved);
		if (result == STREAM_AGAIN)
			break;
		if (result != STREAM_DONE) {
			end(probe, PROBE_SILENT,
			    result == STREAM_END ? "it closed the connection"
						 : stream_why(&probe->stream));
			return;
		}
		buf_grow(&probe->in, moved);
		take_input(probe);
	} while (probe->state > STATE_TLS && probe->state != STATE_OVER &&
		 stream_has_pending(&probe->stream));
	if (probe->state > STATE_TLS)
		arm(probe);
}

/* ---- connecting ---- */

/* Want of descriptors, memory or ports of ours says nothing of others. */
static bool
is_ours(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM ||
	       error == ENOBUFS || error == EADDRNOTAVAIL ||
	       error == EAFNOSUPPORT;
}

/* error: of the attempt before; 0: there was none. */
static void
connect_on(struct probe *probe, int error)
{
	if (probe->io)
		event_free(probe->io);
	probe->io = NULL;
	if (connect_next(&probe->stream, probe->request.addresses,
		&probe->address_next, probe->request.port, &error)) {
		arm(probe);
		return;
	}
	if (error == 0)
		end(probe, PROBE_NONE, "it has no address");
	else
		end(probe,
		    is_ours(error) ||
			    (probe->request.one_family && error == ENETUNREACH)
			? PROBE_NONE
		    : error == ECONNREFUSED ? PROBE_REFUSED
					    : PROBE_SILENT,
		    strerrordesc_np(error));
}

static void
connected(struct probe *probe)
{
	int error = connect_finish(&probe->stream);

	if (error == 0 && probe->request.proxy_header)
		error = connect_introduce(&probe->stream, NULL, NULL);
	if (error == 0)
		begin(probe);
	else
		connect_on(probe, error);
}

static void
on_io(evutil_socket_t fd, short what, void *context)
{
	struct probe *probe = context;

	(void)fd;
	(void)what;
	switch (probe->state) {
	case STATE_CONNECT:
		connected(probe);
		return;
	case STATE_TLS:
		go_on_tls(probe);
		return;
	case STATE_GREETING:
	case STATE_HELLO:
	case STATE_STARTTLS:
	case STATE_BACK:
	case STATE_SELECT:
		if (flush(probe))
			read_some(probe);
		return;
	case STATE_OVER:
		return;
	}
}

/* ---- life ---- */

struct probe *
probe_new(struct event_base *base, const struct probe_request *request,
    probe_done *done, void *context)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	struct timeval timeout = { request->timeout_ms / 1000,
		request->timeout_ms % 1000 * 1000 };

	if (!probe)
		return NULL;
	assert(
	    request->depth != PROBE_LOGIN || probe_can_log_in(request->kind));
	probe->request = *request;
	probe->done = done;
	probe->context = context;
	probe->base = base;
	probe->stream.fd = -1;
	probe->in = buf_bounded((size_t)2 * PROBE_LINE_SIZE);
	probe->out = buf_bounded((size_t)2 * PROBE_LINE_SIZE);
	probe->deadline = evtimer_new(base, on_deadline, probe);
	probe->finish = evtimer_new(base, on_finish, probe);
	if (!probe->deadline || !probe->finish ||
	    evtimer_add(probe->deadline, &timeout) < 0) {
		probe_free(&probe);
		return NULL;
	}
	connect_on(probe, 0);
	return probe;
}

void
probe_free(struct probe **probe)
{
	struct probe *old = *probe;

	*probe = NULL;
	if (!old)
		return;
	if (old->io)
		event_free(old->io);
	if (old->deadline)
		event_free(old->deadline);
	if (old->finish)
		event_free(old->finish);
	stream_close(&old->stream);
	back_close(&old->back);
	buf_wipe(&old->in);
	buf_wipe(&old->out);
	free(old);
}
