/*
 * lmtp_parse: commands, paths, replies and the end of a message, as LMTP and
 * SMTP have them (RFC 2033, RFC 5321). Pure.
 */
#ifndef PROXY_LMTP_PARSE_H
#define PROXY_LMTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* Octets that a chunk may be said to have: more is no size. */
#define LMTP_CHUNK_SIZE_MAX ((uint64_t)INT64_MAX)

/* What follows BDAT: a size and perhaps LAST (RFC 3030 section 2). False when
 * it is anything else: nobody knows then where the next command begins. */
bool lmtp_take_chunk(struct slice arguments, uint64_t *size, bool *last);

/*
 * The value of a parameter of MAIL or RCPT (RFC 5321 section 4.1.1.11) among
 * those that `rest` has; empty for one without a value. False: not there.
 */
bool lmtp_find_parameter(
    struct slice rest, const char *keyword, struct slice *value);

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
/*
 * The same of a message whose size is known (BDAT): it has no end in it, and a
 * "." alone between two CRLF is nothing special.
 */
void lmtp_watch(struct lmtp_end *end, struct slice data);

/*
 * Turns such a message into one that ends by a dot (RFC 5321 section 4.5.2):
 * adds the octets with a "." more at lines that begin with one. Begin with
 * zeros; out grows by at most twice the octets and one.
 */
struct lmtp_stuffing {
	bool begun;
	unsigned matched; /* octets of CRLF before what comes next */
};

void lmtp_stuff(
    struct lmtp_stuffing *stuffing, struct slice data, struct buf *out);
/* The end: CRLF where the last line has none, and the dot. */
void lmtp_end_stuffing(const struct lmtp_stuffing *stuffing, struct buf *out);

#endif
