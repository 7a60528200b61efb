#include "zones/web_request.h"

#include <string.h>

/* Takes a line off *rest. RFC 9112 section 2.2: a bare LF ends one, too. */
static bool
next_line(struct slice *rest, struct slice *line)
{
	size_t end = slice_find(*rest, '\n');

	if (end == SIZE_MAX)
		return false;
	*line = slice_first(*rest, end);
	*rest = slice_from_offset(*rest, end + 1);
	if (line->size > 0 && line->data[line->size - 1] == '\r')
		line->size--;
	return true;
}

static bool
take_target(struct web_request *request, struct slice target)
{
	size_t question = slice_find(target, '?');

	/* Of the forms of a target (section 3.2) only the origin's. */
	if (target.size == 0 || target.data[0] != '/')
		return false;
	request->path = slice_first(target, question);
	request->query = question == SIZE_MAX
			     ? slice_from("")
			     : slice_from_offset(target, question + 1);
	return true;
}

static bool
take_request_line(struct web_request *request, struct slice line)
{
	struct slice target, version;

	return slice_is_printable(line) &&
	       slice_next_word(&line, ' ', &request->method) &&
	       slice_next_word(&line, ' ', &target) &&
	       slice_next_word(&line, ' ', &version) && line.size == 0 &&
	       slice_starts_nocase(version, "HTTP/1.") &&
	       take_target(request, target);
}

static void
take_host(struct web_request *request, struct slice value)
{
	size_t colon = slice_find_last(value, ':');

	request->host = value;
	if (colon != SIZE_MAX && slice_find(value, ']') == SIZE_MAX)
		request->host = slice_first(value, colon);
	/* A root's dot means the same name. */
	if (request->host.size > 0 &&
	    request->host.data[request->host.size - 1] == '.')
		request->host.size--;
}

/* Section 5: a name, a colon at once, a value. */
static bool
take_field(struct web_request *request, struct slice line, bool *has_host)
{
	size_t colon = slice_find(line, ':');
	struct slice name;

	if (colon == SIZE_MAX || colon == 0)
		return false;
	name = slice_first(line, colon);
	if (slice_find(name, ' ') != SIZE_MAX ||
	    slice_find(name, '\t') != SIZE_MAX ||
	    memchr(line.data, '\0', line.size))
		return false;
	if (!slice_is_nocase(name, "Host"))
		return true;
	/* Two of them mean that somebody lies. */
	if (*has_host)
		return false;
	*has_host = true;
	take_host(request, slice_trim(slice_from_offset(line, colon + 1)));
	return true;
}

enum web_request_result
web_request_parse(struct web_request *request, struct slice input)
{
	struct slice rest = input, line;
	bool has_host = false;

	*request = (struct web_request){ 0 };
	if (!next_line(&rest, &line))
		return WEB_REQUEST_MORE;
	if (!take_request_line(request, line))
		return WEB_REQUEST_BAD;
	while (next_line(&rest, &line)) {
		if (line.size == 0)
			return WEB_REQUEST_DONE;
		if (!take_field(request, line, &has_host))
			return WEB_REQUEST_BAD;
	}
	return WEB_REQUEST_MORE;
}

struct slice
web_request_field(const struct web_request *request, const char *name)
{
	struct slice rest = request->query, word;

	while (slice_next_word(&rest, '&', &word)) {
		size_t equals = slice_find(word, '=');

		if (equals != SIZE_MAX &&
		    slice_is(slice_first(word, equals), name))
			return slice_from_offset(word, equals + 1);
	}
	return slice_from("");
}
