/*
 * nearest: the servers of a realm, in the order in which to ask them.
 *
 * They stand in lines of text:
 *
 *   SERVICE REALM ADDRESS PORT NAME [SITE [STATE]]
 *   kdc EXAMPLE.ORG 192.0.2.7 88 kdc1 south up
 *
 * SERVICE is kdc or kpasswd; ADDRESS is one, not a name, for nothing is
 * resolved here; NAME is for people; STATE is up or down, up where it is left
 * out. Words are parted by spaces; a hash begins a comment. Lines that cannot
 * be read are passed over.
 *
 * First come those that lately answered (experience.h), last those that did
 * not; in between and among equals those that are up at our own site, then
 * others that are up, then those that are down, for the text may be behind.
 * Else the order is that of the lines. Pure.
 */
#ifndef KDC_PLUGIN_NEAREST_H
#define KDC_PLUGIN_NEAREST_H

#include <stddef.h>
#include <stdint.h>

#include "kdc-plugin/experience.h"
#include "lib/endpoint.h"
#include "lib/slice.h"

#define NEAREST_MAX      64                 /* servers of one service */
#define NEAREST_TEXT_MAX ((size_t)64 << 10) /* octets */

enum nearest_rank {
	NEAREST_HERE, /* up, and at our site */
	NEAREST_UP,
	NEAREST_DOWN
};

struct nearest {
	struct endpoint place;
	enum nearest_rank rank;
	enum experience_word said; /* EXPERIENCE_NONE until it is set */
};

/* service: SERVICE_KERBEROS or SERVICE_KPASSWD. */
struct nearest_wish {
	enum service_kind service;
	struct slice realm;
	struct slice site; /* empty: unknown */
};

/* The servers of that service and realm, in the order of lines; how many. */
size_t nearest_find(struct nearest servers[NEAREST_MAX], struct slice text,
    const struct nearest_wish *wish);
void nearest_sort(struct nearest *servers, size_t count);

/*
 * Whether there is nothing to find out: one that is up is known to answer, or
 * of each it is known what it does.
 */
bool nearest_is_settled(const struct nearest *servers, size_t count);

#endif
