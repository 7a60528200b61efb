/*
 * smtp_back: submission of our servers, until the user is logged in.
 *
 * The client's address is told by XCLIENT (Postfix's, also Dovecot's) where the
 * server offers it. LOGIN is never told so: the server itself has to see the
 * password.
 */
#ifndef PROXY_SMTP_BACK_H
#define PROXY_SMTP_BACK_H

#include "proxy/back.h"

extern const struct back_protocol smtp_back;

#endif
