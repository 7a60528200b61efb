/* A hub, and what it has to be told. */
#include <string.h>

#include "proxy/lmtp_parse.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mail.h"

#define LINE_MAX_SIZE 512 /* as the configuration has it */

/* How far both sides' words were read along. */
struct hub {
	struct mail_copies
	    *copies; /* borrowed; NULL: only its messages matter */
	struct slice said, told;
	bool smtp, settled;
	bool lost; /* an answer is missing; nothing more can be known */
	bool over; /* it was told the last word */
	char users[MAIL_USERS_MAX];
	size_t user_count;
	bool chunked;
	struct buf content;
	const struct mail_copy *sought; /* is it among the messages? */
	bool found;
};

/* ---- contents ---- */

/* Octets as they go to a server that takes lines alone. */
static void
add_lines(struct buf *out, struct slice content)
{
	bool starts = true;

	for (size_t i = 0; i < content.size; i++) {
		if (starts && content.data[i] == '.')
			buf_add_char(out, '.');
		buf_add_char(out, content.data[i]);
		starts = i > 0 && content.data[i] == '\n' &&
			 content.data[i - 1] == '\r';
	}
	if (!starts)
		buf_add_string(out, "\r\n");
	buf_add_string(out, ".\r\n");
}

static bool
is_copy(const struct mail_copy *copy, struct slice content, bool chunked)
{
	struct buf lines = buf_bounded(2 * content.size + 16);
	struct slice other = buf_slice(&copy->content);
	bool same;

	if (copy->chunked == chunked) {
		same = slice_equal(other, content);
	} else {
		add_lines(&lines, content);
		same = !copy->chunked && slice_equal(other, buf_slice(&lines));
	}
	buf_free(&lines);
	return same;
}

/* A good answer is a server's, for this recipient and this very message. */
static void
claim(struct hub *hub, char user)
{
	for (size_t i = 0; i < hub->copies->count; i++) {
		struct mail_copy *copy = &hub->copies->items[i];

		if (copy->claimed || !copy->accepted ||
		    (user != '?' && copy->user != user) ||
		    !is_copy(copy, buf_slice(&hub->content), hub->chunked))
			continue;
		copy->claimed = true;
		return;
	}
	fuzz_require(hub->copies->count == MAIL_COPIES_MAX,
	    "no good answer without a server's");
}

/* ---- answers ---- */

/* The next reply's code; 0 when there is none, which ends the reading. */
static unsigned
next_code(struct hub *hub)
{
	struct lmtp_reply reply;
	enum lmtp_reply_result result =
	    lmtp_take_reply(&hub->told, SIZE_MAX / 2, &reply);

	fuzz_require(result != LMTP_REPLY_BAD, "replies are replies");
	if (result != LMTP_REPLY_DONE) {
		hub->lost = true;
		fuzz_require(!hub->settled, "every command has its answer");
		return 0;
	}
	if (reply.code == 221 || reply.code == 421)
		hub->over = true;
	return reply.code;
}

static void
forget(struct hub *hub)
{
	hub->user_count = 0;
	hub->chunked = false;
	buf_clear(&hub->content);
}

/* The message is whole. */
static void
take_results(struct hub *hub)
{
	size_t count = hub->smtp ? 1 : hub->user_count;

	if (hub->sought &&
	    is_copy(hub->sought, buf_slice(&hub->content), hub->chunked))
		hub->found = true;
	for (size_t i = 0; i < count && !hub->lost && !hub->over; i++) {
		unsigned code = next_code(hub);

		for (size_t k = 0; code / 100 == 2 && hub->copies &&
				   k < hub->user_count && !hub->over;
		     k++)
			if (hub->smtp || k == i)
				claim(hub, hub->users[k]);
	}
	forget(hub);
}

/* ---- commands ---- */

static void
take_data(struct hub *hub, struct slice arguments)
{
	bool served =
	    arguments.size == 0 && !hub->chunked && hub->user_count > 0;
	unsigned code = next_code(hub);
	size_t end = mail_find_end(hub->said);

	if (code != 354) {
		if (served)
			forget(hub);
		return;
	}
	fuzz_require(served, "a message has its recipients");
	if (end == SIZE_MAX) {
		hub->lost = true;
		return;
	}
	buf_add_slice(&hub->content, slice_first(hub->said, end));
	hub->said = slice_from_offset(hub->said, end);
	take_results(hub);
}

static void
take_chunk(struct hub *hub, struct slice arguments)
{
	bool served = hub->user_count > 0;
	struct slice chunk;
	uint64_t size;
	bool last;

	if (!lmtp_take_chunk(arguments, &size, &last)) {
		(void)next_code(hub);
		hub->over = true;
		return;
	}
	if (hub->said.size < size) {
		hub->lost = true;
		return;
	}
	chunk = slice_first(hub->said, size);
	hub->said = slice_from_offset(hub->said, size);
	if (served) {
		hub->chunked = true;
		buf_add_slice(&hub->content, chunk);
	}
	if (served && last)
		take_results(hub);
	else if (next_code(hub) != 0)
		return;
}

/* Whom the hub asked for, as far as that can be told. */
static char
recipient_of(struct slice rest)
{
	struct buf plain = buf_bounded(1024);
	struct slice path, address;
	char user = '?';

	if (lmtp_take_path(&rest, "TO:", &path, &address) &&
	    lmtp_unquote(&plain, address) == 0 && plain.size >= 2 &&
	    (plain.data[0] == 'u' || plain.data[0] == 'U'))
		user = plain.data[1] == '8' ? '0' : plain.data[1];
	buf_free(&plain);
	return user;
}

static void
take_command(struct hub *hub, struct slice line)
{
	struct slice name = slice_first(line, slice_find(line, ' '));
	struct slice rest = slice_trim(slice_from_offset(line, name.size));
	unsigned code;

	if (slice_is_nocase(name, "DATA")) {
		take_data(hub, rest);
		return;
	}
	if (slice_is_nocase(name, "BDAT")) {
		take_chunk(hub, rest);
		return;
	}
	code = next_code(hub);
	if (code / 100 == 2 && slice_is_nocase(name, "RCPT") &&
	    hub->user_count < MAIL_USERS_MAX)
		hub->users[hub->user_count++] = recipient_of(rest);
	else if (code == 250 && (slice_is_nocase(name, "RSET") ||
				    slice_is_nocase(name, "HELO") ||
				    slice_is_nocase(name, "EHLO") ||
				    slice_is_nocase(name, "LHLO")))
		forget(hub);
	else if (code == 220)
		hub->over = true;
}

static void
read_line(struct hub *hub)
{
	size_t end = slice_find(slice_first(hub->said, LINE_MAX_SIZE), '\n');
	struct slice line = slice_first(hub->said, end);

	if (end == SIZE_MAX) {
		if (hub->said.size >= LINE_MAX_SIZE)
			(void)next_code(hub);
		hub->over = true;
		return;
	}
	hub->said = slice_from_offset(hub->said, end + 1);
	if (line.size > 0 && line.data[line.size - 1] == '\r')
		line.size--;
	else
		line.size = 0;
	if (slice_find(line, '\r') != SIZE_MAX ||
	    slice_find(line, '\0') != SIZE_MAX)
		line.size = 0;
	if (line.size == 0)
		(void)next_code(hub);
	else
		take_command(hub, line);
}

static void
read_all(struct hub *hub, const struct stage_peer *peer)
{
	hub->said = buf_slice(&peer->said);
	hub->told = buf_slice(&peer->heard);
	hub->content = buf_bounded((size_t)4 << 20);
	/* The greeting; behind TLS there is none. */
	if (!peer->secured && next_code(hub) / 100 != 2)
		hub->over = true;
	while (!hub->lost && !hub->over && hub->said.size > 0)
		read_line(hub);
	buf_free(&hub->content);
}

void
mail_hub_check(const struct stage_peer *peer, struct mail_copies *copies,
    bool smtp, bool settled)
{
	struct hub hub = { .copies = copies,
		.smtp = smtp,
		.settled = settled && !peer->ended && peer->fd >= 0 };
	struct slice last;

	read_all(&hub, peer);
	last = slice_first(hub.told, 4);
	/* It may be told at any moment that this is the end. */
	if (!hub.lost)
		fuzz_require(hub.told.size == 0 || slice_is(last, "421 "),
		    "no answer without a command");
}

void
mail_copies_check(
    const struct stage_peer *peer, struct mail_copies *copies, bool smtp)
{
	while (copies->checked < copies->count) {
		struct hub hub = { .sought = &copies->items[copies->checked++],
			.smtp = smtp };

		read_all(&hub, peer);
		fuzz_require(
		    hub.found, "servers get the hub's messages and no others");
	}
}
