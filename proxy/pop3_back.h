/* pop3_back: POP3 of our servers, until the user is logged in. */
#ifndef PROXY_POP3_BACK_H
#define PROXY_POP3_BACK_H

#include "proxy/back.h"

extern const struct back_protocol pop3_back;

#endif
