/*
 * principal: an account of the replica, or of the directory, as libhdb wants
 * it.
 *
 * Accounts are people: they ask for tickets and are no servers. Entries without
 * uid and address are services, which do both.
 */
#ifndef KDC_PLUGIN_PRINCIPAL_H
#define KDC_PLUGIN_PRINCIPAL_H

#include <stdbool.h>
#include <stdint.h>

#include "kdc-plugin/compat.h"
#include "kdc-plugin/opened.h"
#include "kdc-plugin/options.h"
#include "lib/account.h"
#include "lib/keyset.h"
#include "lib/locked.h"

/* The key sets of an account, sorted; malformed values are left out. */
struct principal_keys {
	struct keyset sets[2 * KEYSET_VALUES_MAX]; /* borrow from the account */
	size_t count;
};

void principal_keys(const struct account *account, struct principal_keys *keys);

/* The newest postcellLocked; false when there is none. */
bool principal_locked(const struct account *account, struct locked *locked);

/* Whether it has a uid or address. */
bool principal_is_person(const struct account *account);
/* Neither disabled, nor nologin, nor locked. */
bool principal_may_act(const struct account *account, int64_t now_us);

/* The first value of a tag; empty when there is none. */
struct slice principal_value(const struct account *account, uint8_t tag);

struct principal_wish {
	krb5_const_principal name; /* what it shall be called; NULL: its own */
	uint32_t kvno;             /* keys of that version; 0: the newest */
	bool old_keys;             /* the other versions as well */
	int64_t now_us;
};

/*
 * Fills an entry, all zero before, with sealed keys; the caller frees it, also
 * after an error. HDB_ERR_KVNO_NOT_FOUND when there is no such version.
 */
krb5_error_code principal_fill(krb5_context context,
    const struct options *options, const struct account *account,
    const struct principal_wish *wish, hdb_entry *entry);

/*
 * The DER of a Key of hdb.asn1. 0, or an error of the decoder. free_Key().
 */
krb5_error_code principal_decode_key(struct slice der, Key *key);

/*
 * Unseals all keys. HDB_ERR_NO_MKEY when a master key is missing. damaged: NULL
 * where a key that does not open may mean that the master key is another one;
 * else it counts such keys, which are left out. opened: NULL for none.
 */
krb5_error_code principal_unseal(krb5_context context, HDB *db,
    struct opened *opened, hdb_entry *entry, size_t *damaged);

/*
 * Makes the entry one that is refused, whatever the password: locked out, and
 * with other keys in the place of its own, so that nobody learns whether the
 * password was right.
 */
krb5_error_code principal_refuse(krb5_context context, hdb_entry *entry);

#endif
