/*
 * mail: a hub and its servers, as a delivery must serve them: who reads along
 * what both sides say and are told, and knows what has to hold.
 *
 * What servers are told is read while it comes, for one that obeys answers it;
 * what the hub was told is checked at the end, when all is there.
 */
#ifndef TESTS_FUZZ_MAIL_H
#define TESTS_FUZZ_MAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "tests/fuzz/stage.h"

#define MAIL_QUEUE_MAX  128 /* replies that a server owes, or said too early */
#define MAIL_USERS_MAX  128 /* recipients of one message */
#define MAIL_COPIES_MAX 256 /* results that servers gave */

/* A message that a server has got whole, for one recipient of its. */
struct mail_copy {
	char user;
	bool chunked;  /* its octets as they are, with no dots and no end */
	bool accepted; /* the server said so */
	bool claimed;  /* the hub was told */
	struct buf content; /* owned */
};

struct mail_copies {
	struct mail_copy items[MAIL_COPIES_MAX];
	size_t count;
	size_t checked; /* the first ones: they were the hub's */
};

enum mail_owed {
	MAIL_OWES_GREETING,
	MAIL_OWES_HELLO,
	MAIL_OWES_TLS,
	MAIL_OWES_MAIL,
	MAIL_OWES_RECIPIENT,
	MAIL_OWES_DATA,
	MAIL_OWES_CHUNK,
	MAIL_OWES_RESULT,
	MAIL_OWES_RESET
};

/* One connection to a server. */
struct mail_server {
	struct stage_peer *peer;    /* borrowed */
	struct mail_copies *copies; /* borrowed */
	bool smtp, chunking, secured;
	bool obeys;         /* it answers everything, and well */
	size_t heard, said; /* octets read along so far */

	struct {
		enum mail_owed kind;
		char user;
		size_t copy, count; /* of a RESULT: what it is about */
	} owed[MAIL_QUEUE_MAX];

	size_t owed_count;
	unsigned early[MAIL_QUEUE_MAX]; /* codes that answer nothing yet */
	size_t early_count;
	bool in_content, in_chunk, awaits_data, awaits_tls;
	bool chunked, last_chunk;
	uint64_t chunk_left;
	char users[MAIL_USERS_MAX]; /* accepted, in this transaction */
	size_t user_count;
	struct buf content; /* owned: of the message under way */
};

void mail_server_open(struct mail_server *server, struct stage_peer *peer,
    struct mail_copies *copies, bool smtp, bool chunking);
void mail_server_close(struct mail_server *server);
/* Reads on, and answers where it obeys; true when it said something. */
bool mail_server_turn(struct mail_server *server);

/*
 * The hub: has it got its answers, one for each command and each recipient, and
 * no good one without a server's? settled: nothing more will come.
 */
void mail_hub_check(const struct stage_peer *peer, struct mail_copies *copies,
    bool smtp, bool settled);
/* No server got a whole message that the hub had not said as such. */
void mail_copies_check(
    const struct stage_peer *peer, struct mail_copies *copies, bool smtp);

void mail_copies_free(struct mail_copies *copies);

/* Where a message ends that comes by DATA, its end included; SIZE_MAX: not yet.
 */
size_t mail_find_end(struct slice text);

#endif
