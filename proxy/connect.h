/*
 * connect: a connection on its way to one address of a server after the other.
 *
 * Nothing blocks: after connect_next() the socket becomes writable when it is
 * known how the attempt ended, and connect_finish() tells. How long an attempt
 * may take is the caller's business.
 */
#ifndef PROXY_CONNECT_H
#define PROXY_CONNECT_H

#include <stdbool.h>

#include "proxy/resolve.h"
#include "proxy/stream.h"

/*
 * Closes the stream and opens it anew, on its way to address number *next or,
 * when that fails at once, the first after it that does not. *next is then the
 * one behind it. False when there is none left: *error is the errno of the last
 * one tried here, and as it was when none was.
 */
bool connect_next(struct stream *stream, const struct address_list *list,
    size_t *next, uint16_t port, int *error);
/* 0 when it stands; else errno. */
int connect_finish(const struct stream *stream);
/*
 * Says first of all, before any TLS, for whom we connected: a header of the
 * PROXY protocol, version 2. client NULL: for ourselves. 0; else errno, and the
 * connection is of no use.
 */
int connect_introduce(const struct stream *stream, const union address *client,
    const union address *local);

#endif
