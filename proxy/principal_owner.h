/*
 * principal_owner: whose is it? The KDC's rule (kdc-plugin/lookup.h), for those
 * who verify tickets: the account that has it as krb5PrincipalName, else, in
 * the realm of accounts, the one without any whose uid it is, letter by letter.
 */
#ifndef PROXY_PRINCIPAL_OWNER_H
#define PROXY_PRINCIPAL_OWNER_H

#include "replica/reader.h"

/*
 * The name before the realm, if it is of one component and of this realm; `uid`
 * is cleared before. 0, or -1 when it is not. Pure. RFC 1964 section 2.1.1:
 * `\` stands before what has a meaning otherwise.
 */
int principal_owner_uid(
    struct slice principal, const char *realm, struct buf *uid);

/* As replica_find; realm: NULL for none. */
enum replica_result principal_owner_find(struct replica *replica,
    struct slice principal, const char *realm, struct buf *store,
    struct account *account, const char **why);

#endif
