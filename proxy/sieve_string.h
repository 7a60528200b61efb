/*
 * sieve_string: the strings of ManageSieve, RFC 5804 section 4, on top of
 * imap_scan.h, whose quoted strings and literals are the same. Pure.
 */
#ifndef PROXY_SIEVE_STRING_H
#define PROXY_SIEVE_STRING_H

#include <stdbool.h>

#include "lib/buf.h"

/* Takes a quoted string or a literal, nothing else, off *rest. */
bool sieve_take_string(struct slice *rest, struct buf *value);

/* Adds text as a quoted string where that can be, else as a literal: {N} from
 * a server, {N+} from a client. */
void sieve_add_string(struct buf *out, struct slice text, bool from_client);

#endif
