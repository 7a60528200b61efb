/*
 * lmtp_back: one back end in a delivery session, by LMTP (RFC 2033), or by SMTP
 * (RFC 5321) where its route says so.
 *
 * It connects when it is made, begins a transaction with its first recipient,
 * and tells its owner what the server answers. It lives until its owner closes
 * it, and serves one transaction after the other.
 */
#ifndef PROXY_LMTP_BACK_H
#define PROXY_LMTP_BACK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/slice.h"
#include "proxy/route.h"

struct relay;
struct lmtp_back;

enum lmtp_news {
	LMTP_NEWS_RECIPIENT, /* reply to lmtp_back_recipient() */
	LMTP_NEWS_DATA,   /* reply to lmtp_back_data(); 354: content may come */
	LMTP_NEWS_CHUNK,  /* reply to lmtp_back_chunk(), if not the last */
	LMTP_NEWS_RESULT, /* reply for the next accepted recipient of the
			     message; of SMTP: for all of them */
	LMTP_NEWS_ROOM,   /* content went out, there is room for more */
	LMTP_NEWS_FAILED  /* it is of no use any more: why is in text */
};

/* code: of the reply, 0 with ROOM and FAILED; text lives for the call. */
typedef void lmtp_tell(void *context, struct lmtp_back *back,
    enum lmtp_news news, unsigned code, struct slice text);

/* Whom the message comes from, for servers that want to be told (`proxy=v2`).
 */
struct lmtp_client {
	const union address *client, *local; /* borrowed */
};

/* NULL without memory. context is borrowed. */
struct lmtp_back *lmtp_back_new(struct relay *relay, const struct route *route,
    struct lmtp_client client, lmtp_tell *tell, void *context);
/* Closes the connection at once; `tell` is not called any more. Never from
 * inside `tell`. */
void lmtp_back_free(struct lmtp_back **back);

/* Name of the server in the cell; lives as long as the back. */
const char *lmtp_back_server(const struct lmtp_back *back);
/* Something was asked that is not answered yet. */
bool lmtp_back_is_busy(const struct lmtp_back *back);
bool lmtp_back_has_failed(const struct lmtp_back *back);

/*
 * Asks for a recipient: whole commands without CRLF. The first one of a
 * transaction sends MAIL before it; when that is refused its reply is told.
 */
void lmtp_back_recipient(
    struct lmtp_back *back, struct slice mail, struct slice recipient);
/* Does it take chunks (RFC 3030)? Known as soon as a recipient was accepted. */
bool lmtp_back_takes_chunks(const struct lmtp_back *back);
/* Does it speak SMTP: one result for all recipients? */
bool lmtp_back_is_smtp(const struct lmtp_back *back);

void lmtp_back_data(struct lmtp_back *back);
/* Instead of DATA: `size` octets of content come. */
void lmtp_back_chunk(struct lmtp_back *back, uint64_t size, bool last);
/* After 354: content as it came, its end included in the last piece. Of a
 * chunk: no more than it has. */
void lmtp_back_content(struct lmtp_back *back, struct slice content);
/* Octets of content that the server has not taken yet. */
size_t lmtp_back_waiting(const struct lmtp_back *back);
/* All content is said: `count` results will come, of SMTP one. */
void lmtp_back_finish(struct lmtp_back *back, size_t count);
/* Closes the connection, whatever is under way on it, and tells so. */
void lmtp_back_fail(struct lmtp_back *back, const char *why);
/* The same without telling; it has failed then. */
void lmtp_back_abandon(struct lmtp_back *back);
/* Gives up a transaction: by RSET, and where its message is on its way by
 * closing the connection, which has failed then. */
void lmtp_back_reset(struct lmtp_back *back);

#endif
