/*
 * directory: the LDAP servers that administrative work goes to.
 *
 * Blocking, each operation bounded by the timeout of the options at each
 * server. A server that fails is left for the next one of `uris`, by all of the
 * process; whether a
 * write that went unanswered was done is for the caller to find out, which
 * writes asserted on entryCSN do by themselves. Not for the path of a ticket.
 */
#ifndef KDC_PLUGIN_DIRECTORY_H
#define KDC_PLUGIN_DIRECTORY_H

#include <stdbool.h>

#include <ldap.h>

#include "kdc-plugin/options.h"
#include "lib/buf.h"
#include "lib/slice.h"

struct directory;

/* NULL without memory. Borrows the options. Connects when it has to. */
struct directory *directory_new(const struct options *options);
void directory_free(struct directory **directory);

/* The reason of the last failure; borrowed, until the next call. */
const char *directory_why(const struct directory *directory);

/*
 * All return a code of LDAP. LDAP_UNAVAILABLE: no server could be asked.
 *
 * The answer is the caller's, ldap_msgfree(); also after
 * LDAP_SIZELIMIT_EXCEEDED.
 */
int directory_search(struct directory *directory, const char *base, int scope,
    const char *filter, const char *const *attributes, int size_max,
    LDAPMessage **answer);

/* assertion: an LDAP filter that must hold (RFC 4528), NULL for none. */
int directory_modify(struct directory *directory, const char *dn,
    LDAPMod **changes, const char *assertion);
int directory_add(
    struct directory *directory, const char *dn, LDAPMod **attributes);
int directory_delete(
    struct directory *directory, const char *dn, const char *assertion);
/* RFC 3062, with the new password alone. */
int directory_set_password(
    struct directory *directory, const char *dn, struct slice password);

/* The handle that the last answer came by, for ldap_get_dn() and the like. */
LDAP *directory_ldap(struct directory *directory);

/*
 * The record that a replica would have of an entry of an answer
 * (replica/entry.h); *has_login: it has the class for keys. 0, or -1 with *why.
 */
int directory_record(struct directory *directory, LDAPMessage *message,
    struct buf *record, bool *has_login, const char **why);

/* What directory_record() needs of an entry; ends in NULL. */
const char *const *directory_attributes(const struct directory *directory);

#endif
