/* sieve_back: ManageSieve of our servers, until the user is logged in. */
#ifndef PROXY_SIEVE_BACK_H
#define PROXY_SIEVE_BACK_H

#include "proxy/back.h"

extern const struct back_protocol sieve_back;

#endif
