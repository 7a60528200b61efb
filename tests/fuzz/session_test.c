/*
 * A session with its client and its servers, each of whom may say anything at
 * any moment, in any pieces, before login and after it.
 */
#include <string.h>
#include <unistd.h>

#include "proxy/session_state.h"
#include "tests/fuzz/auth_peer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/login_server.h"
#include "tests/fuzz/script.h"

#define LINES_MAX 200 /* of one play */

const char fuzz_name[] = "session";

enum mode {
	MODE_PLAIN,
	MODE_STARTTLS, /* before credentials */
	MODE_IMPLICIT,
	MODE_EITHER
};

struct play {
	struct stage stage;
	struct login_server servers[STAGE_PEERS_MAX];
	size_t server_count;
	int auth; /* owned: the auth process's end; -1: none */
	enum mode mode;
	bool wayward;     /* servers to come do not obey */
	bool tls_wanted;  /* the client was told to begin TLS */
	size_t taken;     /* octets of the client's that its front took */
	size_t back_read; /* octets of the server's that the session read */
	const SSL *back_ssl;
	size_t back_number;
	/* at login */
	struct stage_peer *server; /* NULL: not yet */
	size_t server_heard, server_said, client_heard;
};

static struct play play;

static struct session *
find_session(void)
{
	for (unsigned i = 0; i < QUEUE_DEAD; i++)
		if (!TAILQ_EMPTY(&play.stage.relay.queues[i]))
			return TAILQ_FIRST(&play.stage.relay.queues[i]);
	return NULL;
}

/* ---- between the session's parts: the linker's --wrap ---- */

enum front_action real_front_input(struct front *front, struct slice *input,
    struct buf *out) __asm__("__real_front_input");
enum front_action take_front_input(struct front *front, struct slice *input,
    struct buf *out) __asm__("__wrap_front_input");
enum stream_result real_stream_fill(struct stream *stream, struct buf *in,
    size_t size) __asm__("__real_stream_fill");
enum stream_result take_stream_fill(struct stream *stream, struct buf *in,
    size_t size) __asm__("__wrap_stream_fill");
void real_begin_relay(struct session *session) __asm__(
    "__real_session_begin_relay");
void take_begin_relay(struct session *session) __asm__(
    "__wrap_session_begin_relay");

/* The front is shown what the client said, each octet once, and behind TLS
 * nothing that came before. */
enum front_action
take_front_input(struct front *front, struct slice *input, struct buf *out)
{
	struct stage_peer *client = &play.stage.client;
	struct slice said =
	    slice_from_offset(buf_slice(&client->said), play.taken);
	size_t before = input->size;
	enum front_action action;

	fuzz_require(!play.tls_wanted, "nothing is taken between the two");
	fuzz_require(
	    front->tls == stage_is_secured(client), "TLS is on or not");
	fuzz_require(slice_equal(slice_first(said, before), *input),
	    "the front is shown what the client says");
	action = real_front_input(front, input, out);
	play.taken += before - input->size;
	if (action == FRONT_STARTTLS)
		play.tls_wanted = true;
	if (action == FRONT_LOGIN)
		fuzz_require(front->tls || play.mode == MODE_PLAIN ||
				 play.mode == MODE_EITHER,
		    "no credentials before TLS");
	return action;
}

enum stream_result
take_stream_fill(struct stream *stream, struct buf *in, size_t size)
{
	size_t before = in->size;
	enum stream_result result = real_stream_fill(stream, in, size);
	const struct session *session = find_session();

	if (!session || in != &session->login->back_in)
		return result;
	if (stream->ssl != play.back_ssl ||
	    play.back_number != play.stage.server_count)
		play.back_read = 0;
	play.back_ssl = stream->ssl;
	play.back_number = play.stage.server_count;
	play.back_read += in->size - before;
	return result;
}

/* From here on octets are theirs, on both sides. */
void
take_begin_relay(struct session *session)
{
	struct stage_peer *client = &play.stage.client;
	struct stage_peer *server =
	    &play.stage.servers[play.stage.server_count - 1];

	(void)stage_peer_turn(server);
	(void)stage_peer_turn(client);
	fuzz_require(!play.server, "one login");
	fuzz_require(session->login->back_out.size == 0 || server->paused ||
			 server->fd < 0,
	    "all is said to the server");
	play.server = server;
	play.server_heard = server->heard.size;
	play.server_said = play.back_read - session->login->back_in.size;
	play.client_heard = client->heard.size;
	real_begin_relay(session);
}

/* ---- what holds at any moment ---- */

static bool
has_word(struct slice text, const char *word)
{
	for (size_t i = 0; i < text.size; i++)
		if (slice_starts_nocase(slice_from_offset(text, i), word))
			return true;
	return false;
}

static void
check_lines(struct slice text, const char *what)
{
	for (size_t i = 0; i < text.size; i++)
		fuzz_require(text.data[i] != '\0' &&
				 (text.data[i] != '\n' ||
				     (i > 0 && text.data[i - 1] == '\r')),
		    what);
}

/* What the session says by itself. */
static void
check_words(void)
{
	const struct stage_peer *client = &play.stage.client;

	for (size_t i = 0; i < play.server_count; i++) {
		const struct stage_peer *peer = play.servers[i].peer;
		struct slice heard = buf_slice(&peer->heard);

		if (peer == play.server)
			heard = slice_first(heard, play.server_heard);
		if (peer->server == 1 && !peer->secured &&
		    !play.servers[i].challenging)
			fuzz_require(!has_word(heard, "AUTHENTICATE") &&
					 !has_word(heard, "\r\nAUTH ") &&
					 !has_word(heard, "\r\nPASS "),
			    "no credentials to a server without its TLS");
	}
	if (!play.server && play.stage.listener_config.service != SERVICE_SIEVE)
		check_lines(buf_slice(&client->heard), "answers are lines");
}

/* What was passed on is a part of what was said, from the login on. */
static void
check_relay(bool settled)
{
	struct stage_peer *client = &play.stage.client, *server = play.server;
	struct slice said, heard;

	if (!server)
		return;
	said = slice_from_offset(buf_slice(&client->said), play.taken);
	heard = slice_from_offset(buf_slice(&server->heard), play.server_heard);
	fuzz_require(slice_equal(slice_first(said, heard.size), heard),
	    "the server hears what the client says");
	if (settled && server->fd >= 0 && !server->ended &&
	    client->unsent.size == 0)
		fuzz_require(heard.size == said.size, "and all of it");
	said = slice_from_offset(buf_slice(&server->said), play.server_said);
	heard = buf_slice(&client->heard);
	if (!settled || client->fd < 0 || client->ended ||
	    server->unsent.size > 0)
		return;
	fuzz_require(
	    heard.size >= play.client_heard + said.size &&
		slice_equal(
		    slice_from_offset(heard, heard.size - said.size), said),
	    "the client hears all that the server says");
	heard = slice_first(heard, heard.size - said.size);
	fuzz_require(heard.size > 0 && heard.data[heard.size - 1] == '\n',
	    "behind a whole answer");
}

static void
turn(void)
{
	bool more = true;

	while (more) {
		stage_turn(&play.stage);
		while (play.server_count < play.stage.server_count) {
			size_t number = play.server_count++;

			login_server_open(&play.servers[number],
			    &play.stage.servers[number],
			    play.stage.listener_config.service);
			play.servers[number].obeys = !play.wayward;
		}
		more = auth_peer_turn(play.auth);
		for (size_t i = 0; i < play.server_count; i++)
			if (play.servers[i].peer != play.server &&
			    login_server_turn(&play.servers[i]))
				more = true;
	}
	check_words();
	check_relay(false);
}

/* ---- a play ---- */

/* Only as it was told to; what it said before is not said behind it. */
static void
begin_tls(void)
{
	struct stage_peer *client = &play.stage.client;

	if (!play.tls_wanted || client->ssl)
		return;
	stage_begin_tls(client, true);
	play.tls_wanted = false;
	play.taken = 0;
}

static void
run(const struct script_line *line)
{
	if (line->peer == &play.stage.client && line->what == '!')
		begin_tls();
	else if (script_run(&play.stage, line))
		;
	else if (line->what == '~' && line->who == '*')
		play.wayward = !play.wayward;
	else if (line->what == '~' && line->who >= '0' &&
		 line->who < '0' + (int)play.server_count)
		play.servers[line->who - '0'].obeys ^= true;
	if (line->alone)
		turn();
}

/* The second octet of a play: `v` where the proxy verifies. */
static void
set_up(unsigned setup, char more)
{
	static const enum service_kind services[] = { SERVICE_IMAP,
		SERVICE_POP3, SERVICE_SUBMISSION, SERVICE_SIEVE };
	struct stage *stage = &play.stage;
	struct config_listener *listener = &stage->listener_config;

	stage_open(stage, services[setup & 3]);
	play.mode = (enum mode)(setup >> 2 & 3);
	listener->tls = play.mode == MODE_PLAIN      ? SERVICE_TLS_NONE
			: play.mode == MODE_IMPLICIT ? SERVICE_TLS_IMPLICIT
						     : SERVICE_TLS_STARTTLS;
	listener->plaintext =
	    play.mode == MODE_PLAIN || play.mode == MODE_EITHER;
	if (setup & 16)
		listener->mechanisms = (1U << SASL_GSSAPI) - 1;
	stage->relay.offers.mechanisms[listener->service] =
	    (1U << SASL_MECHANISM_COUNT) - 1;
	if (setup & 32)
		offer_join(listener->service,
		    &stage->relay.offers.lines[listener->service],
		    slice_from("UTF8 USER\nTOP\nSIZE 10\nCHUNKING\n"
			       "SIEVE fileinto vacation\n"),
		    true);
	stage->room = setup & 64 ? 1 : 0;
	/* As stage_world.c has them. */
	stage->secured = (setup & 3) == 3 ? 0 : 1U << 2;
	play.wayward = setup & 128;
	play.tls_wanted = play.mode == MODE_IMPLICIT;
	play.auth = more == 'v' ? auth_peer_open(stage) : -1;
	stage_connect(stage);
	begin_tls();
	turn();
}

/* What is on its way arrives. */
static void
settle(void)
{
	play.stage.client.paused = false;
	for (size_t i = 0; i < play.server_count; i++)
		play.servers[i].peer->paused = false;
	turn();
	check_relay(true);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_from_offset(slice_of(data, size), 1);
	struct script_line line;

	if (size == 0)
		return 0;
	memset(&play, 0, sizeof(play));
	set_up(data[0], size > 1 ? (char)data[1] : ' ');
	/* The rest of the first line is a comment. */
	(void)script_next(&play.stage, &rest, &line);
	for (int i = 0; i < LINES_MAX && script_next(&play.stage, &rest, &line);
	     i++)
		run(&line);
	settle();
	stage_close(&play.stage);
	if (play.auth >= 0)
		close(play.auth);
	return 0;
}
