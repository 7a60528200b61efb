/*
 * lmtp_parse: commands, paths, replies and the end of a message, as LMTP and
 * SMTP have them (RFC 2033, RFC 5321). Pure.
 */
#ifndef PROXY_LMTP_PARSE_H
#define PROXY_LMTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"
#include "lib/slice.h"

/*
 * Takes "FROM:" or "TO:" (keyword, without case), an optional space and a path
 * off *rest: `path` with its angle brackets, `address` what is inside, without
 * a source route (RFC 5321 appendix F.2). False when it is none.
 */
bool lmtp_take_path(struct slice *rest, const char *keyword, struct slice *path,
    struct slice *address);

/*
 * A local part and domain as they are looked up: quotes and their backslashes
 * taken off the local part. 0, or -1 for what is no address.
 */
int lmtp_unquote(struct buf *out, struct slice address);
/* A path for this name, quoted where it must be; detail may be empty. */
int lmtp_add_path(
    struct buf *out, struct slice name, char delimiter, struct slice detail);

/* A whole reply, all its lines: CRLF between them, none at the end. */
struct lmtp_reply {
	unsigned code; /* 200 to 599 */
	struct slice text;
};

enum lmtp_reply_result {
	LMTP_REPLY_MORE,
	LMTP_REPLY_DONE,
	LMTP_REPLY_BAD
};

/* Takes a reply off *input; it borrows from there. size_max: octets of it all.
 */
enum lmtp_reply_result lmtp_take_reply(
    struct slice *input, size_t size_max, struct lmtp_reply *reply);
/* Does an EHLO or LHLO reply have this keyword? */
bool lmtp_reply_offers(struct slice text, const char *keyword);

/*
 * Where a message ends that comes in pieces: at CRLF "." CRLF and nothing
 * else (RFC 5321 section 4.1.1.4). Begin with zeros.
 */
struct lmtp_end {
	unsigned matched; /* octets of CRLF "." CRLF so far */
	bool begun;
	bool bare; /* a CR or LF was seen that is not part of CRLF */
	/*
	 * A line of "." alone was seen that is no end, since not both its ends
	 * are CRLF. A server that is less strict takes it for one, and what
	 * follows for commands: nothing from there on may go to a server.
	 */
	bool loose;
	unsigned dot; /* the line so far: 1 empty, 2 ".", 0 something else */
	char last;
};

/* Octets of `data` that belong to the message, its end included; *done. */
size_t lmtp_find_end(struct lmtp_end *end, struct slice data, bool *done);

#endif
