/*
 * imap_back: IMAP until login, as a client of a back end (RFC 9051).
 *
 * One round trip where the back end allows it: the greeting's capabilities
 * are believed (over TLS asked for again), and ID and AUTHENTICATE with an
 * initial response (RFC 4959) leave together.
 */
#ifndef PROXY_IMAP_BACK_H
#define PROXY_IMAP_BACK_H

#include "proxy/back.h"

extern const struct back_protocol imap_back;

#endif
