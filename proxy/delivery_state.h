/*
 * delivery_state: what a delivery is made of, for the files that carry it
 * along: delivery.c (life, and the client's connection), delivery_command.c
 * (the client speaks), delivery_recipient.c (each is placed and asked for),
 * delivery_message.c (its octets go to the servers, their answers come back),
 * delivery_chunk.c (the same for a message that comes in chunks, RFC 3030).
 */
#ifndef PROXY_DELIVERY_STATE_H
#define PROXY_DELIVERY_STATE_H

#include "proxy/admission.h"
#include "proxy/delivery.h"
#include "proxy/hops.h"
#include "proxy/lmtp_back.h"
#include "proxy/lmtp_parse.h"

#define DELIVERY_BACKS_MAX 64  /* servers in one session */
#define DELIVERY_REPLY_MAX 512 /* octets of one recipient's reply */

enum delivery_state {
	DELIVERY_TLS,       /* handshake with the client */
	DELIVERY_COMMAND,   /* the client says commands */
	DELIVERY_PLACING,   /* a recipient waits for its guard or its server */
	DELIVERY_STARTING,  /* DATA was said to the servers */
	DELIVERY_STREAMING, /* the message, or a chunk of it, goes through */
	DELIVERY_CHUNK,     /* the servers' answers to a chunk come */
	DELIVERY_SKIPPING,  /* a chunk comes that nobody wants */
	DELIVERY_FINISHING, /* the message's results come */
	DELIVERY_CLOSING,   /* the last words */
	DELIVERY_DEAD
};

/* A recipient that its server accepted. */
struct recipient {
	struct delivery *delivery;
	struct lmtp_back *back; /* borrowed from delivery->backs */
	struct follower follower;
	struct buf reply; /* owned: what the client will be told */
	char server[ROUTE_HOST_SIZE];
	bool lost;    /* its account may not be with that server */
	bool started; /* its server takes the message */
	bool done;    /* reply is there */
};

struct delivery {
	LIST_ENTRY(delivery) link;
	struct relay *relay;
	const struct listener *listener;
	union address client, local;
	struct admission held;
	char id[RELAY_ID_SIZE];
	enum delivery_state state;
	struct stream front;
	struct event *front_event; /* owned */
	short front_events;
	struct event *timer; /* owned: idle, stall, or guard of a recipient */
	struct event
	    *grace; /* owned: moved accounts' servers are left at its end */
	struct event *reaper;  /* owned */
	struct event *sweeper; /* owned: servers that failed are freed */
	struct buf in, out;
	bool tls, greeted, retiring;
	bool settled; /* a sender was accepted: it is a hub indeed */
	bool taking;  /* commands are being taken */
	bool read_up; /* all that TLS can make of its octets was read */
	unsigned long bad_commands; /* since the last sender was accepted */
	struct buf
	    mail; /* owned: "MAIL FROM:<...> ..."; empty: no transaction */
	struct lmtp_back *backs[DELIVERY_BACKS_MAX]; /* owned */
	size_t back_count;
	struct recipient **recipients; /* owned, in the order of RCPT */
	size_t recipient_count;
	/* the recipient under way */
	struct recipient *placing; /* owned */
	struct buf path;    /* owned: its path for the server, and parameters */
	struct buf address; /* owned: as looked up */
	/* the message under way */
	struct lmtp_end end;
	struct lmtp_stuffing stuffing;
	struct hops hops;
	uint64_t size;
	bool chunked;        /* it comes in chunks */
	bool last_chunk;     /* of the one under way */
	uint64_t chunk_left; /* octets of it still to come */
	uint64_t messages;
	int64_t accepted_ms;
};

/* ---- delivery.c ---- */

/* The only way out; memory is freed from the loop. why: static text. */
void delivery_end(struct delivery *delivery, const char *why);
/* Has libevent wait for what the state and the unsent output call for. */
void delivery_arm(struct delivery *delivery);
/* Sends what waits for the client. False when the session ended. */
bool delivery_flush(struct delivery *delivery);
/* A line for the client. */
void delivery_say(struct delivery *delivery, const char *text);
/* Says the last word and waits for the client to close. */
void delivery_close(struct delivery *delivery, const char *text);
/* How long what happens now may take. */
void delivery_wait(struct delivery *delivery, long seconds);
void delivery_begin_tls(struct delivery *delivery);

/* Does the client speak SMTP? */
bool delivery_is_smtp(const struct delivery *delivery);

/* ---- delivery_command.c ---- */

/* As many commands as are there, as long as each is done at once. */
void delivery_take_commands(struct delivery *delivery);

/* ---- delivery_recipient.c ---- */

/* Routes the recipient whose address and parameters are there. */
void delivery_place(struct delivery *delivery);
/* The recipient under way gets its answer; commands may go on. */
void delivery_answer_recipient(struct delivery *delivery, struct slice reply);
/* Its server's answer to it. */
void delivery_take_recipient_reply(
    struct delivery *delivery, unsigned code, struct slice text);
/* Forgets the message and its recipients. */
void delivery_forget(struct delivery *delivery);
/* Is a recipient with that server? */
bool delivery_uses(
    const struct delivery *delivery, const struct lmtp_back *back);
void delivery_on_grace(evutil_socket_t fd, short what, void *context);
void delivery_log_recipient(const struct delivery *delivery,
    struct slice address, const char *server, struct slice reply);
/* What a server said as the last word on a recipient, fit for the client. */
struct slice delivery_last_word(unsigned code, struct slice text);
/* And what is said for one that says no more. */
struct slice delivery_lost_reply(void);

/* ---- delivery_message.c ---- */

/* DATA: the servers of all recipients are told. */
void delivery_start_message(struct delivery *delivery);
/* While STREAMING: what has come of the message goes to the servers. */
void delivery_stream_content(struct delivery *delivery);
/* All octets are with the servers: their results come. */
void delivery_end_message(struct delivery *delivery);
/* May the message be as far as it is known? If not, all recipients have their
 * answers and their servers were left: true. */
bool delivery_check_message(struct delivery *delivery);
/* Has that server a recipient without an answer? */
bool delivery_is_waited_for(
    const struct delivery *delivery, const struct lmtp_back *back);
/* A server is too slow to read on. */
bool delivery_is_blocked(const struct delivery *delivery);
/* lmtp_tell of all servers. */
void delivery_tell(void *context, struct lmtp_back *back, enum lmtp_news news,
    unsigned code, struct slice text);

/* ---- delivery_chunk.c ---- */

/* BDAT: so many octets come. */
void delivery_start_chunk(struct delivery *delivery, uint64_t size, bool last);
/* The servers are ready for a chunk. */
void delivery_begin_chunk(struct delivery *delivery);
/* While STREAMING and SKIPPING: what has come of it. */
void delivery_stream_chunk(struct delivery *delivery);
void delivery_skip_chunk(struct delivery *delivery);
/* While CHUNK: a server has answered. */
void delivery_finish_chunk(struct delivery *delivery);

#endif
