/*
 * autoconfig: the document from which mail programs set an account up.
 *
 * The format is the one that Thunderbird's "autoconfig" made common
 * (config-v1.1.xml): servers by protocol, the better one first, with
 * placeholders that the program fills in. It is made of the very SRV records
 * that the zone is to hold, so that programs which ask DNS (RFC 6186) and
 * programs which fetch this document end at the same place: a service that DNS
 * calls off is not in it.
 *
 * A program keeps what it was told for years. Where a generic name covers a
 * service it is named rather than a single proxy.
 */
#ifndef ZONES_AUTOCONFIG_H
#define ZONES_AUTOCONFIG_H

#include "lib/buf.h"
#include "zones/config.h"
#include "zones/rrsets.h"

/*
 * Adds the domain's document; `set` is what its zone is to hold. 0; or -1 when
 * the domain has no server to read mail from, or the text does not fit.
 */
int autoconfig_document(struct buf *out, const struct config *config,
    const struct config_domain *domain, const struct rrsets *set);

#endif
