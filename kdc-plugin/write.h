/*
 * write: what an administrator reads and changes, in the directory.
 *
 * Only what differs from what was read is written, asserted on the entryCSN
 * that was read (RFC 4528). Where another change came between, the entry is
 * read again: the difference goes on to it unless both touch the same
 * attribute. Keys are always added (lib/keyset.h).
 */
#ifndef KDC_PLUGIN_WRITE_H
#define KDC_PLUGIN_WRITE_H

#include <stdbool.h>

#include <ldap.h>

#include "kdc-plugin/compat.h"
#include "kdc-plugin/directory.h"
#include "kdc-plugin/lookup.h"
#include "kdc-plugin/options.h"

struct write;

/* NULL without memory. Borrows both. */
struct write *write_new(
    const struct options *options, struct directory *directory);
void write_free(struct write **write);

/* What was read is no longer what the next store is compared with. */
void write_forget(struct write *write);

/* All return 0 or a Kerberos error, with its text set. */

/*
 * Fills the entry, sealed; with its old keys only for who asks for them, since
 * kadm5 would bring them back when it sets a key version. HDB_ERR_NOENTRY:
 * there is none.
 */
krb5_error_code write_fetch(struct write *write, krb5_context context,
    const struct lookup_name *name, bool old_keys, hdb_entry *entry);
/* precheck: only say whether it could be done. */
krb5_error_code write_store(struct write *write, krb5_context context, HDB *db,
    bool replace, bool precheck, const hdb_entry *entry);
krb5_error_code write_remove(struct write *write, krb5_context context,
    const struct lookup_name *name, bool precheck);
/*
 * Puts the keys of that password into the entry. Those of an account are made
 * by the directory, which judges the password as well, where options->
 * modify_passwords; the store that follows then finds nothing to do.
 * conditional: not one that the account has or had (reuse.h).
 */
krb5_error_code write_password(struct write *write, krb5_context context,
    HDB *db, struct slice password, bool conditional, hdb_entry *entry);

/* Everybody with keys; ldap_msgfree(). */
krb5_error_code write_list(
    struct write *write, krb5_context context, LDAPMessage **answer);
/* One of them; HDB_ERR_NOENTRY when it is none of ours. */
krb5_error_code write_read(struct write *write, krb5_context context,
    LDAPMessage *message, hdb_entry *entry);

#endif
