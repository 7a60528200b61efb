/* A server of LMTP or SMTP, and what it may be told. */
#include <stdio.h>
#include <string.h>

#include "proxy/lmtp_parse.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mail.h"

#define CONTENT_MAX ((size_t)4 << 20)

void
mail_server_open(struct mail_server *server, struct stage_peer *peer,
    struct mail_copies *copies, bool smtp, bool chunking)
{
	*server = (struct mail_server){ .peer = peer,
		.copies = copies,
		.smtp = smtp,
		.chunking = chunking,
		.obeys = true,
		.owed_count = 1 };
	server->owed[0].kind = MAIL_OWES_GREETING;
	server->content = buf_bounded(CONTENT_MAX);
}

void
mail_server_close(struct mail_server *server)
{
	buf_free(&server->content);
}

void
mail_copies_free(struct mail_copies *copies)
{
	for (size_t i = 0; i < copies->count; i++)
		buf_free(&copies->items[i].content);
	copies->count = 0;
}

size_t
mail_find_end(struct slice text)
{
	static const char end[] = "\r\n.\r\n";
	const char *found;

	if (text.size >= 3 && memcmp(text.data, ".\r\n", 3) == 0)
		return 3;
	found = text.size > 0
		    ? memmem(text.data, text.size, end, sizeof(end) - 1)
		    : NULL;
	return found ? (size_t)(found - text.data) + sizeof(end) - 1 : SIZE_MAX;
}

/* ---- what it says ---- */

/* A reply of that code meets what was owed first. */
static void
settle(struct mail_server *server, unsigned code)
{
	enum mail_owed kind = server->owed[0].kind;
	char user = server->owed[0].user;
	size_t copy = server->owed[0].copy;
	size_t end = copy + server->owed[0].count;

	server->owed_count--;
	memmove(server->owed, server->owed + 1,
	    server->owed_count * sizeof(server->owed[0]));
	if (kind == MAIL_OWES_RECIPIENT && code / 100 == 2 &&
	    server->user_count < MAIL_USERS_MAX)
		server->users[server->user_count++] = user;
	if (kind == MAIL_OWES_DATA) {
		server->awaits_data = false;
		server->in_content = code == 354;
	}
	if (kind == MAIL_OWES_TLS)
		server->awaits_tls = code == 220;
	for (; kind == MAIL_OWES_RESULT && copy < end; copy++)
		server->copies->items[copy].accepted = code / 100 == 2;
}

static void
meet(struct mail_server *server)
{
	while (server->owed_count > 0 && server->early_count > 0) {
		unsigned code = server->early[0];

		server->early_count--;
		memmove(server->early, server->early + 1,
		    server->early_count * sizeof(server->early[0]));
		settle(server, code);
	}
}

static void
owe(struct mail_server *server, enum mail_owed kind, char user)
{
	if (server->owed_count == MAIL_QUEUE_MAX)
		return;
	server->owed[server->owed_count].kind = kind;
	server->owed[server->owed_count++].user = user;
	meet(server);
}

/* A result for so many copies, from that one on. */
static void
owe_result(struct mail_server *server, size_t copy, size_t count)
{
	if (server->owed_count == MAIL_QUEUE_MAX)
		return;
	server->owed[server->owed_count].copy = copy;
	server->owed[server->owed_count].count = count;
	owe(server, MAIL_OWES_RESULT, 0);
}

/* Replies that it said, by itself or for us. */
static void
read_said(struct mail_server *server)
{
	struct slice rest =
	    slice_from_offset(buf_slice(&server->peer->said), server->said);
	size_t before = rest.size;
	struct lmtp_reply reply;

	while (
	    server->early_count < MAIL_QUEUE_MAX &&
	    lmtp_take_reply(&rest, SIZE_MAX / 2, &reply) == LMTP_REPLY_DONE) {
		server->early[server->early_count++] = reply.code;
		meet(server);
	}
	server->said += before - rest.size;
}

/* ---- what it is told ---- */

/* <u3>, <u3+detail@host>, or with its local part in quotes. */
static char
recipient_of(struct slice path)
{
	size_t at = path.size > 1 && path.data[1] == '"' ? 2 : 1;
	bool known =
	    path.size >= at + 3 && path.data[0] == '<' &&
	    path.data[at] == 'u' && path.data[at + 1] >= '0' &&
	    path.data[at + 1] <= '7' &&
	    slice_find(slice_from(">@+\""), path.data[at + 2]) != SIZE_MAX;

	fuzz_require(known, "a server is asked for a user of its");
	return path.data[at + 1];
}

static void
forget(struct mail_server *server)
{
	server->user_count = 0;
	server->chunked = false;
	buf_clear(&server->content);
}

static void
add_copy(struct mail_server *server, char user)
{
	struct mail_copies *copies = server->copies;
	struct mail_copy *copy = &copies->items[copies->count];

	if (copies->count == MAIL_COPIES_MAX)
		return;
	*copy = (struct mail_copy){ .user = user, .chunked = server->chunked };
	copy->content = buf_bounded(CONTENT_MAX);
	buf_add_slice(&copy->content, buf_slice(&server->content));
	copies->count++;
}

/* Whole: it owes a result for each recipient, by SMTP one. */
static void
end_message(struct mail_server *server)
{
	size_t first = server->copies->count, count;

	for (size_t i = 0; i < server->user_count; i++)
		add_copy(server, server->users[i]);
	count = server->copies->count - first;
	if (server->smtp)
		owe_result(server, first, count);
	for (size_t i = 0; !server->smtp && i < server->user_count; i++)
		owe_result(server, first + i, i < count);
	forget(server);
}

static void
take_chunk(struct mail_server *server, struct slice arguments)
{
	fuzz_require(server->chunking, "chunks for those who take them");
	fuzz_require(lmtp_take_chunk(
			 arguments, &server->chunk_left, &server->last_chunk),
	    "a chunk has a size");
	server->chunked = true;
	server->in_chunk = true;
}

static void
take_command(struct mail_server *server, struct slice line)
{
	struct slice name = slice_first(line, slice_find(line, ' '));
	struct slice rest = slice_from_offset(line, name.size + 1);
	struct slice path, address;

	if (slice_is(name, server->smtp ? "EHLO" : "LHLO")) {
		owe(server, MAIL_OWES_HELLO, 0);
	} else if (slice_is(line, "STARTTLS")) {
		owe(server, MAIL_OWES_TLS, 0);
	} else if (slice_is(name, "MAIL")) {
		forget(server);
		owe(server, MAIL_OWES_MAIL, 0);
	} else if (slice_is(name, "RCPT")) {
		fuzz_require(
		    lmtp_take_path(&rest, "TO:", &path, &address), "a path");
		owe(server, MAIL_OWES_RECIPIENT, recipient_of(path));
	} else if (slice_is(line, "DATA")) {
		server->awaits_data = true;
		owe(server, MAIL_OWES_DATA, 0);
	} else if (slice_is(name, "BDAT")) {
		take_chunk(server, rest);
	} else {
		fuzz_require(slice_is(line, "RSET"), "a command of ours");
		forget(server);
		owe(server, MAIL_OWES_RESET, 0);
	}
}

static bool
ends_line(char c)
{
	return c == '\r' || c == '\n';
}

/*
 * A server that is less strict than it ought to be must not see an end where
 * there is none: nothing that a single CR or LF makes a line of "." is passed.
 */
static void
check_content(struct slice content, size_t from)
{
	for (size_t i = from; i + 2 < content.size; i++) {
		const char *at = content.data + i;

		if (*at != '.' || !ends_line(at[1]) ||
		    (i > 0 && !ends_line(at[-1])))
			continue;
		fuzz_require(
		    at[1] == '\r' && at[2] == '\n' &&
			(i == 0 || (i > 1 && at[-1] == '\n' && at[-2] == '\r')),
		    "nothing seems an end that is none");
	}
}

/* Each of these takes what it can off *rest; false when that is nothing. */
static bool
read_content(struct mail_server *server, struct slice *rest)
{
	size_t before = server->content.size, end;

	buf_add_slice(&server->content, *rest);
	check_content(buf_slice(&server->content), before > 4 ? before - 4 : 0);
	end = mail_find_end(buf_slice(&server->content));
	if (end == SIZE_MAX) {
		*rest = slice_from("");
		return false;
	}
	*rest = slice_from_offset(*rest, end - before);
	server->content.size = end;
	server->in_content = false;
	end_message(server);
	return true;
}

static bool
read_chunk(struct mail_server *server, struct slice *rest)
{
	struct slice piece = slice_first(*rest, server->chunk_left);

	buf_add_slice(&server->content, piece);
	*rest = slice_from_offset(*rest, piece.size);
	server->chunk_left -= piece.size;
	if (server->chunk_left > 0)
		return false;
	server->in_chunk = false;
	if (server->last_chunk)
		end_message(server);
	else
		owe(server, MAIL_OWES_CHUNK, 0);
	return true;
}

static bool
read_command(struct mail_server *server, struct slice *rest)
{
	size_t end = slice_find(*rest, '\n');
	struct slice line = slice_first(*rest, end);

	if (server->awaits_data) {
		fuzz_require(rest->size == 0, "nothing is said before 354");
		return false;
	}
	if (end == SIZE_MAX)
		return false;
	*rest = slice_from_offset(*rest, end + 1);
	fuzz_require(
	    line.size > 0 && line.data[line.size - 1] == '\r', "CRLF ends");
	line.size--;
	for (size_t i = 0; i < line.size; i++)
		fuzz_require(
		    (unsigned char)line.data[i] >= 0x20 && line.data[i] != 0x7f,
		    "no control octet in a command");
	take_command(server, line);
	return true;
}

static void
read_heard(struct mail_server *server)
{
	struct slice rest =
	    slice_from_offset(buf_slice(&server->peer->heard), server->heard);
	bool more = true;

	if (server->awaits_tls)
		return;
	while (more) {
		if (server->in_content)
			more = read_content(server, &rest);
		else if (server->in_chunk)
			more = read_chunk(server, &rest);
		else
			more = read_command(server, &rest);
	}
	server->heard = server->peer->heard.size - rest.size;
}

/* ---- where it obeys ---- */

static void
answer(struct mail_server *server, enum mail_owed kind)
{
	static const char *const texts[] = {
		[MAIL_OWES_GREETING] = "220 Hello.\r\n",
		[MAIL_OWES_HELLO] = "250-Hello.\r\n250-8BITMIME\r\n",
		[MAIL_OWES_TLS] = "220 Begin.\r\n",
		[MAIL_OWES_MAIL] = "250 2.1.0 Sender.\r\n",
		[MAIL_OWES_RECIPIENT] = "250 2.1.5 Recipient.\r\n",
		[MAIL_OWES_DATA] = "354 Say it.\r\n",
		[MAIL_OWES_CHUNK] = "250 2.0.0 A chunk.\r\n",
		[MAIL_OWES_RESULT] = "250 2.0.0 Kept.\r\n",
		[MAIL_OWES_RESET] = "250 2.0.0 Forgotten.\r\n",
	};

	stage_say(server->peer, slice_from(texts[kind]));
	if (kind != MAIL_OWES_HELLO)
		return;
	if (server->chunking)
		stage_say(server->peer, slice_from("250-CHUNKING\r\n"));
	stage_say(server->peer,
	    slice_from(server->peer->server == 1 && !server->peer->secured
			   ? "250 STARTTLS\r\n"
			   : "250 SIZE\r\n"));
}

bool
mail_server_turn(struct mail_server *server)
{
	struct stage_peer *peer = server->peer;
	bool answered = false;

	/* Behind TLS all begins anew, but for the greeting. */
	if (peer->secured && !server->secured) {
		server->secured = true;
		server->awaits_tls = false;
		server->heard = server->said = 0;
		server->owed_count = server->early_count = 0;
	}
	read_said(server);
	read_heard(server);
	while (server->obeys && server->owed_count > 0 && peer->fd >= 0) {
		enum mail_owed kind = server->owed[0].kind;
		size_t before = server->owed_count;

		answer(server, kind);
		read_said(server);
		/* Behind the beginning of something else it is no answer. */
		if (server->owed_count >= before)
			break;
		answered = true;
		if (kind == MAIL_OWES_TLS) {
			/* What is said goes out before TLS begins. */
			while (stage_peer_turn(peer))
				continue;
			stage_begin_tls(peer, false);
			break;
		}
		read_heard(server);
	}
	return answered;
}
