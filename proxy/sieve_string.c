#include "proxy/sieve_string.h"

#include "proxy/imap_scan.h"

#define QUOTED_SIZE_MAX 1024 /* octets of a quoted string */

bool
sieve_take_string(struct slice *rest, struct buf *value)
{
	return rest->size > 0 &&
	       (rest->data[0] == '"' || rest->data[0] == '{') &&
	       imap_take_astring(rest, value);
}

void
sieve_add_string(struct buf *out, struct slice text, bool from_client)
{
	if (text.size <= QUOTED_SIZE_MAX && imap_add_quoted(out, text))
		return;
	buf_printf(out, "{%zu%s}\r\n", text.size, from_client ? "+" : "");
	buf_add_slice(out, text);
}
