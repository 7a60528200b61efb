/*
 * smtp_front: submission before login, RFC 5321, 6409, STARTTLS (3207) and
 * AUTH (4954).
 *
 * Nothing but a login is taken here; mail comes after it, and then the server
 * hears it. What EHLO offers for mail is what every server offers (offer.h),
 * since a client does not ask again after it logged in.
 */
#ifndef PROXY_SMTP_FRONT_H
#define PROXY_SMTP_FRONT_H

#include "proxy/front.h"

extern const struct front_protocol smtp_front;

#endif
