/*
 * pop3_front: POP3 before login, RFC 1939, with CAPA (2449), STLS (2595), AUTH
 * (5034), UTF8 and LANG (6856).
 *
 * APOP is not offered: it needs passwords kept in the clear.
 */
#ifndef PROXY_POP3_FRONT_H
#define PROXY_POP3_FRONT_H

#include "proxy/front.h"

extern const struct front_protocol pop3_front;

#endif
