/*
 * sieve_front: ManageSieve before login, RFC 5804.
 *
 * Capabilities are said in the greeting, after STARTTLS and when asked for;
 * they are not said again after login, so that they must hold for whatever
 * server the user has: see offer.h.
 */
#ifndef PROXY_SIEVE_FRONT_H
#define PROXY_SIEVE_FRONT_H

#include "proxy/front.h"

extern const struct front_protocol sieve_front;

#endif
