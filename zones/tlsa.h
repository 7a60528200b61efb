/*
 * tlsa: TLSA records (RFC 6698) made of certificate files.
 *
 * `3 1 1`: the end entity's public key by SHA-256, as RFC 7671 section 5.1
 * recommends, so that a renewed certificate with the same key changes nothing.
 * Several files of one section are published together, for a key that is
 * about to change.
 */
#ifndef ZONES_TLSA_H
#define ZONES_TLSA_H

#include "lib/buf.h"
#include "zones/config.h"
#include "zones/rrsets.h"

/*
 * The records of all tlsa sections, in *set, which was empty. A section with a
 * file that cannot be read gets none and a line in faults. 0, or -1 when there
 * was such a one.
 */
int tlsa_read(
    struct rrsets *set, const struct config *config, struct buf *faults);

#endif
