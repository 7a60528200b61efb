/*
 * nearest: the servers of a realm, in the order in which to ask them.
 *
 * They stand in a file, a line each:
 *
 *   SERVICE REALM ADDRESS PORT NAME [SITE]
 *   kdc EXAMPLE.ORG 192.0.2.7 88 kdc1 south
 *
 * SERVICE is kdc or kpasswd; ADDRESS is one, not a name, for nothing is
 * resolved here; NAME is the host's in the directory, by which the map of the
 * cell tells whether it is up. Words are parted by spaces; a hash begins a
 * comment. Lines that cannot be read are passed over.
 *
 * First come those that are up in our own site, then others that are up, last
 * those that are down, for the map may be behind. Among equals the order is the
 * file's. Pure.
 */
#ifndef KDC_PLUGIN_NEAREST_H
#define KDC_PLUGIN_NEAREST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/cell.h"
#include "lib/slice.h"

#define NEAREST_MAX      64                 /* servers of one service */
#define NEAREST_FILE_MAX ((size_t)64 << 10) /* octets */

struct nearest {
	struct sockaddr_storage address;
	unsigned rank; /* 0 is asked first */
};

/*
 * The servers of that service and realm, sorted; how many there are. cell: NULL
 * where the map is not known, and then all are up.
 */
size_t nearest_find(struct nearest servers[NEAREST_MAX], struct slice file,
    struct slice service, struct slice realm, struct slice site,
    const struct cell *cell, int64_t now_us);

#endif
