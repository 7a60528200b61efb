/*
 * experience: which KDCs and kpasswd servers lately answered, and which did
 * not.
 *
 * It is kept as text, a line each, which may be cut off anywhere:
 *
 *   kdc 192.0.2.7:88 1800000000 answered
 *   kpasswd [2001:db8::7]:464 1800000000 silent
 *
 * Without a port it is the service's. The number is when, in seconds of Unix
 * time. What is older than it may be, or of the future, is forgotten. Pure.
 */
#ifndef KDC_PLUGIN_EXPERIENCE_H
#define KDC_PLUGIN_EXPERIENCE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/endpoint.h"
#include "lib/service.h"

#define EXPERIENCE_MAX      128
#define EXPERIENCE_TEXT_MAX ((size_t)16 << 10)

/* In the order in which servers are asked. */
enum experience_word {
	EXPERIENCE_ANSWERED,
	EXPERIENCE_NONE,
	EXPERIENCE_SILENT
};

struct experience_item {
	enum service_kind service; /* SERVICE_KERBEROS or SERVICE_KPASSWD */
	struct endpoint place;
	int64_t time_s;
	enum experience_word word;
};

/* All zero: nothing is known. */
struct experience {
	struct experience_item items[EXPERIENCE_MAX];
	size_t count;
};

/* Replaces what was known of the server; the oldest makes room. */
void experience_note(
    struct experience *experience, const struct experience_item *item);
/* What is known of a server, and is no older than keep_s. */
enum experience_word experience_of(const struct experience *experience,
    enum service_kind service, const struct endpoint *place, int64_t now_s,
    int64_t keep_s);

/* Notes what the text says, where that is newer; bad lines are left out. */
void experience_read(struct experience *experience, struct slice text);
/* 0, or -1 when it does not fit. */
int experience_write(struct buf *out, const struct experience *experience);

#endif
