/*
 * web: serves the autoconfig documents over HTTP.
 *
 *   /mail/config-v1.1.xml                          as autoconfig.DOMAIN
 *   /.well-known/autoconfig/mail/config-v1.1.xml   as DOMAIN
 *
 * The domain is the one that the Host field names, else that of the mail
 * address in the query. Strangers ask, and this process holds the keys of the
 * zones, so as little as possible is understood: one request without a body
 * for each connection, all of bounded size, time and number; when the number
 * is reached the oldest connection makes room. There is no TLS: who wants it
 * puts a web server before this.
 */
#ifndef ZONES_WEB_H
#define ZONES_WEB_H

#include <event2/event.h>

#include "zones/config.h"
#include "zones/publish.h"

struct web;

/* Binds; ports may need privileges. NULL with *why (static text). */
struct web *web_open(const struct config *config, const char **why);
/* All is borrowed and has to live as long. */
void web_start(
    struct web *web, struct event_base *base, const struct publish *publish);
void web_free(struct web **web);

#endif
