/*
 * name: what users and senders are called, brought to the one form in which
 * the cell compares it, and escaped for where it is put.
 *
 * The forms are those of the directory's own equality rules, so that the
 * replica finds an entry exactly when an LDAP search would:
 *   NAME_UID        caseIgnoreMatch (RFC 4518): compatibility form, lower
 *                   case, spaces at the ends dropped, runs of them one
 *   NAME_ADDRESS    caseIgnoreIA5Match: the same for ASCII. Not ASCII is
 *                   allowed (RFC 6532) and folded as for NAME_UID
 *   NAME_PRINCIPAL  caseExactIA5Match: spaces alone
 * Letters that are younger than slapd's tables (Unicode 3.2) have case here and
 * none there; all else is as slapd 2.5 answers.
 */
#ifndef LIB_NAME_H
#define LIB_NAME_H

#include "lib/buf.h"
#include "lib/slice.h"

/* Longest name in its normalised form, in octets; bounds every lookup. */
#define NAME_SIZE_MAX 400

enum name_kind {
	NAME_UID,
	NAME_ADDRESS,
	NAME_PRINCIPAL,
	NAME_KIND_COUNT
};

/* "uid", "address", "principal"; static. */
const char *name_kind_text(enum name_kind kind);

/*
 * Adds the normalised form to out. 0; or -1 with *why (static text) when the
 * name is empty, too long, holds a control octet or is not UTF-8.
 */
int name_normalise(
    struct buf *out, enum name_kind kind, struct slice name, const char **why);

/* An assertion value for an LDAP filter, RFC 4515 section 3. */
int name_escape_filter(struct buf *out, struct slice value);
/* An attribute value for a DN, RFC 4514 section 2.4. */
int name_escape_dn(struct buf *out, struct slice value);
/* True for a host name of DNS (RFC 1123): letters, digits, hyphens, dots. */
bool name_is_host(struct slice name);

/*
 * Cuts an address at its last "@": local part and domain, both borrowed.
 * False without "@" or with nothing on one of its sides.
 */
bool name_split_address(
    struct slice address, struct slice *local, struct slice *domain);

#endif
