#include "tests/fuzz/script.h"

#include <string.h>
#include <sys/socket.h>

#include "proxy/delivery.h"
#include "proxy/session.h"
#include "tests/fuzz/fuzz.h"

#define SAID_MAX ((size_t)1 << 18) /* octets that one peer says */
#define FILL     8192              /* octets: eight lines */

static struct stage_peer *
find_peer(struct stage *stage, char who)
{
	size_t number = (size_t)(who - '0');

	if (who == 'c')
		return &stage->client;
	return who >= '0' && who <= '9' && number < stage->server_count
		   ? &stage->servers[number]
		   : NULL;
}

bool
script_next(struct stage *stage, struct slice *rest, struct script_line *line)
{
	size_t end = slice_find(*rest, '\n');
	struct slice text = slice_first(*rest, end);

	if (rest->size == 0)
		return false;
	*rest =
	    slice_from_offset(*rest, end == SIZE_MAX ? rest->size : end + 1);
	*line = (struct script_line){ .alone = true };
	if (text.size > 0 && text.data[0] == '&') {
		line->alone = false;
		text = slice_from_offset(text, 1);
	}
	if (text.size > 0)
		line->who = text.data[0];
	if (text.size > 1)
		line->what = text.data[1];
	line->text = slice_from_offset(text, 2);
	line->peer = find_peer(stage, line->who);
	return true;
}

static void
add_octets(struct buf *octets, struct slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		char c = text.data[i];

		if (c == '\\' && i + 1 < text.size) {
			c = text.data[++i];
			c = c == 'r' ? '\r' : c == 'n' ? '\n' : c;
			c = c == '0' ? '\0' : c;
		}
		buf_add_char(octets, c);
	}
}

static void
say_octets(struct stage_peer *peer, struct slice text, bool beneath)
{
	struct buf octets = buf_bounded(SAID_MAX);

	add_octets(&octets, text);
	if (!beneath)
		stage_say(peer, buf_slice(&octets));
	else if (peer->fd >= 0 && peer->ssl)
		(void)send(peer->fd, octets.data, octets.size,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_free(&octets);
}

static void
fill(struct stage_peer *peer, char count)
{
	struct buf lines = buf_bounded((size_t)10 * FILL);
	char line[FILL / 8];
	size_t size = count >= '0' && count <= '9' ? (size_t)(count - '0') : 0;

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 2] = '\r';
	line[sizeof(line) - 1] = '\n';
	while (lines.size < size * FILL)
		buf_add(&lines, line, sizeof(line));
	if (peer->said.size < SAID_MAX)
		stage_say(peer, buf_slice(&lines));
	buf_free(&lines);
}

static bool
run_peer(struct stage *stage, const struct script_line *line)
{
	struct stage_peer *peer = line->peer;

	switch (line->what) {
	case ':':
		stage_say(peer, line->text);
		stage_say(peer, slice_from("\r\n"));
		return true;
	case ';':
	case '$':
		say_octets(peer, line->text, line->what == '$');
		return true;
	case '%':
		fill(peer, line->text.size > 0 ? line->text.data[0] : '0');
		return true;
	case '<':
	case '>':
		peer->paused = line->what == '<';
		return true;
	case '.':
		peer->ending = true;
		return true;
	case '#':
		stage_hang_up(peer);
		return true;
	case '!':
		stage_begin_tls(peer, peer == &stage->client);
		return true;
	default:
		return false;
	}
}

static void
pass_time(struct stage *stage, char step)
{
	static const int64_t steps_ms[] = { 1, 60, 450, 1100, 5100, 31000,
		61000, 301000, 601000, 1900000 };

	if (step >= '0' && step <= '9')
		stage_advance(stage, steps_ms[step - '0']);
}

static void
stop(struct stage *stage)
{
	struct session *session;
	struct delivery *delivery;

	for (unsigned i = 0; i < QUEUE_DEAD; i++)
		while ((session = TAILQ_FIRST(&stage->relay.queues[i])))
			session_stop(session);
	for (delivery = LIST_FIRST(&stage->relay.deliveries); delivery;
	     delivery = delivery_next(delivery))
		delivery_stop(delivery);
}

static void
retire(struct stage *stage)
{
	struct delivery *delivery;

	for (delivery = LIST_FIRST(&stage->relay.deliveries); delivery;
	     delivery = delivery_next(delivery))
		delivery_retire(delivery);
}

bool
script_run(struct stage *stage, const struct script_line *line)
{
	char server[] = { 's', line->what, '\0' };
	struct slice nothing = slice_from("");

	if (line->peer)
		return run_peer(stage, line);
	switch (line->who) {
	case '+':
		pass_time(stage, line->what);
		return true;
	case 'm':
		json_decref(moves_end(&stage->relay,
		    stage_account((unsigned char)(line->what - '0')), nothing,
		    "account was moved"));
		return true;
	case 'f':
		json_decref(moves_end(&stage->relay, nothing,
		    slice_from(server), "its server was flushed"));
		return true;
	case 'r':
		stage->refused ^= 1U << (line->what & 7);
		return true;
	case 'R':
		retire(stage);
		return true;
	case 'S':
		stop(stage);
		return true;
	default:
		return false;
	}
}
