#include "proxy/lmtp_parse.h"

#include <string.h>

#include "lib/name.h"
#include "proxy/line.h"

/* Position behind the ">" of a path; quoted strings may hold one. SIZE_MAX:
 * none. */
static size_t
path_end(struct slice text)
{
	bool quoted = false;

	if (text.size == 0 || text.data[0] != '<')
		return SIZE_MAX;
	for (size_t i = 1; i < text.size; i++) {
		char c = text.data[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (c == '>' && !quoted)
			return i + 1;
	}
	return SIZE_MAX;
}

bool
lmtp_take_path(struct slice *rest, const char *keyword, struct slice *path,
    struct slice *address)
{
	struct slice text;
	size_t end, colon;

	if (!slice_starts_nocase(*rest, keyword))
		return false;
	text = slice_trim(slice_from_offset(*rest, strlen(keyword)));
	end = path_end(text);
	if (end == SIZE_MAX || (end < text.size && text.data[end] != ' '))
		return false;
	*path = slice_first(text, end);
	*address = slice_from_offset(slice_first(text, end - 1), 1);
	*rest = slice_trim(slice_from_offset(text, end));
	if (address->size > 0 && address->data[0] == '@') {
		colon = slice_find(*address, ':');
		if (colon == SIZE_MAX)
			return false;
		*address = slice_from_offset(*address, colon + 1);
	}
	return true;
}

int
lmtp_unquote(struct buf *out, struct slice address)
{
	size_t i = 1;

	if (address.size == 0 || address.data[0] != '"')
		return address.size > 0 ? buf_add_slice(out, address) : -1;
	for (; i < address.size && address.data[i] != '"'; i++) {
		if (address.data[i] == '\\')
			i++;
		if (i < address.size)
			buf_add_char(out, address.data[i]);
	}
	if (i >= address.size || i == 1)
		return -1;
	address = slice_from_offset(address, i + 1);
	if (address.size > 0 && address.data[0] != '@')
		return -1;
	return buf_add_slice(out, address);
}

/* atext and dots, RFC 5321 section 4.1.2; octets above ASCII as RFC 6531 has
 * it. */
static bool
is_dot_string(struct slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		char c = text.data[i];

		if (c == '.' &&
		    (i == 0 || i == text.size - 1 || text.data[i - 1] == '.'))
			return false;
		if ((c > 0 && c <= 0x20) || c == 0x7f ||
		    strchr("()<>[]:;@\\,\"", c))
			return false;
	}
	return text.size > 0;
}

static void
add_local(struct buf *out, struct slice local)
{
	if (is_dot_string(local)) {
		buf_add_slice(out, local);
		return;
	}
	buf_add_char(out, '"');
	for (size_t i = 0; i < local.size; i++) {
		if (local.data[i] == '"' || local.data[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, local.data[i]);
	}
	buf_add_char(out, '"');
}

int
lmtp_add_path(
    struct buf *out, struct slice name, char delimiter, struct slice detail)
{
	struct slice local = name, domain = slice_from("");
	struct buf whole = buf_bounded((size_t)2 * NAME_SIZE_MAX);

	name_split_address(name, &local, &domain);
	buf_add_slice(&whole, local);
	if (detail.size > 0) {
		buf_add_char(&whole, delimiter);
		buf_add_slice(&whole, detail);
	}
	buf_add_char(out, '<');
	add_local(out, buf_slice(&whole));
	if (domain.size > 0) {
		buf_add_char(out, '@');
		buf_add_slice(out, domain);
	}
	buf_add_char(out, '>');
	if (whole.failed)
		out->failed = true;
	buf_free(&whole);
	return out->failed ? -1 : 0;
}

bool
lmtp_take_chunk(struct slice arguments, uint64_t *size, bool *last)
{
	size_t space = slice_find(arguments, ' ');
	struct slice rest = slice_trim(slice_from_offset(arguments, space));

	*last = slice_is_nocase(rest, "LAST");
	return slice_to_uint(slice_first(arguments, space), LMTP_CHUNK_SIZE_MAX,
		   size) == 0 &&
	       (*last || rest.size == 0);
}

bool
lmtp_find_parameter(struct slice rest, const char *keyword, struct slice *value)
{
	struct slice word;

	while (slice_next_word(&rest, ' ', &word)) {
		size_t equals = slice_find(word, '=');

		if (!slice_is_nocase(slice_first(word, equals), keyword))
			continue;
		*value = equals == SIZE_MAX
			     ? slice_from("")
			     : slice_from_offset(word, equals + 1);
		return true;
	}
	return false;
}

/* "250-text" or "250 text" or "250": its code, and whether more lines follow.
 */
static bool
read_reply_line(struct slice line, unsigned *code, bool *last)
{
	uint64_t number;

	if (line.size < 3 ||
	    slice_to_uint(slice_first(line, 3), 599, &number) < 0 ||
	    number < 200)
		return false;
	if (line.size > 3 && line.data[3] != '-' && line.data[3] != ' ')
		return false;
	*code = (unsigned)number;
	*last = line.size == 3 || line.data[3] == ' ';
	return true;
}

enum lmtp_reply_result
lmtp_take_reply(struct slice *input, size_t size_max, struct lmtp_reply *reply)
{
	struct slice rest = *input, line;
	bool last = false;

	while (!last) {
		enum line_result result = line_take(&rest, size_max, &line);
		size_t used = input->size - rest.size;

		if (result == LINE_MORE)
			return input->size > size_max ? LMTP_REPLY_BAD
						      : LMTP_REPLY_MORE;
		if (result != LINE_DONE || used > size_max ||
		    !read_reply_line(line, &reply->code, &last))
			return LMTP_REPLY_BAD;
		reply->text = slice_first(*input, used - 2);
	}
	*input = rest;
	return LMTP_REPLY_DONE;
}

bool
lmtp_reply_offers(struct slice text, const char *keyword)
{
	struct slice line, word;

	while (slice_next_word(&text, '\n', &line)) {
		struct slice rest = slice_from_offset(line, 4);

		if (rest.size > 0 && rest.data[rest.size - 1] == '\r')
			rest.size--;
		if (slice_next_word(&rest, ' ', &word) &&
		    slice_is_nocase(word, keyword))
			return true;
	}
	return false;
}

/* A line of "." ends here, and not, or not yet, as the end of a message does.
 */
static bool
is_loose(const struct lmtp_end *end, char c)
{
	if (end->dot == 2 && c == '\n')
		return true;
	if (end->dot == 2 && c == '\r')
		return end->matched != 3;
	return end->matched == 4 && end->last == '\r' && c != '\n';
}

/* How the line stands after this octet, whatever ends lines. */
static unsigned
next_dot(unsigned dot, char c)
{
	if (c == '\r' || c == '\n')
		return 1;
	return dot == 1 && c == '.' ? 2 : 0;
}

static const char end_pattern[] = "\r\n.\r\n";

static void
begin_content(struct lmtp_end *end)
{
	if (end->begun)
		return;
	/* The line of the command before it ended in CRLF. */
	end->begun = true;
	end->matched = 2;
	end->dot = 1;
	end->last = '\n';
}

/* Takes the next octet; true when it completes an end. */
static bool
take_octet(struct lmtp_end *end, char c)
{
	if ((c == '\n' && end->last != '\r') ||
	    (end->last == '\r' && c != '\n'))
		end->bare = true;
	end->loose = end->loose || is_loose(end, c);
	end->dot = next_dot(end->dot, c);
	end->last = c;
	if (c == end_pattern[end->matched])
		end->matched++;
	else
		end->matched = c == '\r';
	return end->matched == sizeof(end_pattern) - 1;
}

size_t
lmtp_find_end(struct lmtp_end *end, struct slice data, bool *done)
{
	begin_content(end);
	for (size_t i = 0; i < data.size; i++) {
		*done = take_octet(end, data.data[i]);
		if (*done)
			return i + 1;
	}
	*done = false;
	return data.size;
}

void
lmtp_watch(struct lmtp_end *end, struct slice data)
{
	begin_content(end);
	for (size_t i = 0; i < data.size; i++)
		/* Its CRLF may begin the next line of a dot. */
		if (take_octet(end, data.data[i]))
			end->matched = 2;
}

void
lmtp_stuff(struct lmtp_stuffing *stuffing, struct slice data, struct buf *out)
{
	size_t from = 0;

	if (data.size > 0 && !stuffing->begun) {
		stuffing->begun = true;
		stuffing->matched = 2;
	}
	for (size_t i = 0; i < data.size; i++) {
		char c = data.data[i];

		if (c == '.' && stuffing->matched == 2) {
			buf_add(out, data.data + from, i - from);
			buf_add_char(out, '.');
			from = i;
		}
		if (c == '\n' && stuffing->matched == 1)
			stuffing->matched = 2;
		else
			stuffing->matched = c == '\r';
	}
	buf_add_slice(out, slice_from_offset(data, from));
}

void
lmtp_end_stuffing(const struct lmtp_stuffing *stuffing, struct buf *out)
{
	buf_add_string(out,
	    stuffing->begun && stuffing->matched != 2 ? "\r\n.\r\n" : ".\r\n");
}
