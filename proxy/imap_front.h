/*
 * imap_front: IMAP4rev1 and IMAP4rev2 before login, as a server
 * (RFC 9051 sections 6.1 and 6.2, RFC 2971 ID, RFC 4959 SASL-IR, RFC 7888
 * LITERAL-).
 */
#ifndef PROXY_IMAP_FRONT_H
#define PROXY_IMAP_FRONT_H

#include "proxy/front.h"

extern const struct front_protocol imap_front;

#endif
