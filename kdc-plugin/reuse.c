#include "kdc-plugin/reuse.h"

#include <string.h>

#include "kdc-plugin/principal.h"
#include "lib/keyset.h"
#include "lib/timestamp.h"

/* What the password makes of one salt: sets mostly share theirs. */
struct reuse_made {
	krb5_keyblock key; /* owned; no octets: none was made */
	krb5_salt salt;    /* owned */
};

/* Plain, or -1; free_Key(). */
static int
reuse_open(krb5_context context, HDB *db, const struct keyset *set,
    size_t index, Key *key)
{
	struct buf der = buf_bounded(KEYSET_KEY_MAX);
	int code = -1;

	if (keyset_key(set, index, &der) == 0)
		code = principal_decode_key(buf_slice(&der), key);
	buf_wipe(&der);
	if (code != 0)
		return -1;
	if (hdb_unseal_key(context, db, key) == 0 && !key->mkvno)
		return 0;
	free_Key(key);
	return -1;
}

static void
reuse_clear(krb5_context context, struct reuse_made *made)
{
	krb5_free_keyblock_contents(context, &made->key);
	krb5_data_free(&made->salt.saltvalue);
	*made = (struct reuse_made){ .salt = { .salttype = 0 } };
}

static krb5_error_code
reuse_make(krb5_context context, struct slice password, const Key *key,
    krb5_const_principal principal, struct reuse_made *made)
{
	krb5_data text = { password.size, NULL };
	krb5_salt salt = { 0 };
	krb5_error_code code;

	if (key->salt) {
		salt.salttype = (krb5_salttype)key->salt->type;
		code = krb5_data_copy(&salt.saltvalue, key->salt->salt.data,
		    key->salt->salt.length);
	} else {
		code = krb5_get_pw_salt(context, principal, &salt);
	}
	if (code == 0 && made->key.keyvalue.length > 0 &&
	    made->key.keytype == key->key.keytype &&
	    made->salt.salttype == salt.salttype &&
	    krb5_data_cmp(&made->salt.saltvalue, &salt.saltvalue) == 0) {
		krb5_data_free(&salt.saltvalue);
		return 0;
	}
	reuse_clear(context, made);
	made->salt = salt;
	if (code == 0)
		code = krb5_data_copy(&text, password.data, password.size);
	if (code == 0)
		code = krb5_string_to_key_data_salt(
		    context, key->key.keytype, text, salt, &made->key);
	if (text.data)
		explicit_bzero(text.data, text.length);
	krb5_data_free(&text);
	return code;
}

/* By the first key of the set that can be had. */
static bool
reuse_is_of(krb5_context context, HDB *db, const struct keyset *set,
    krb5_const_principal principal, struct slice password,
    struct reuse_made *made)
{
	Key key;
	bool same;

	for (size_t i = 0; i < set->key_count; i++) {
		if (reuse_open(context, db, set, i, &key) != 0)
			continue;
		if (reuse_make(context, password, &key, principal, made) != 0) {
			free_Key(&key);
			continue;
		}
		same = slice_equal_secret(slice_of(made->key.keyvalue.data,
					      made->key.keyvalue.length),
		    slice_of(key.key.keyvalue.data, key.key.keyvalue.length));
		explicit_bzero(key.key.keyvalue.data, key.key.keyvalue.length);
		free_Key(&key);
		return same;
	}
	return false;
}

enum reuse
reuse_find(krb5_context context, HDB *db, krb5_const_principal principal,
    const struct account *account, struct slice password, int64_t now_us)
{
	struct reuse_made made = { .salt = { .salttype = 0 } };
	enum reuse found = REUSE_NONE;
	struct principal_keys keys;

	principal_keys(account, &keys);
	for (size_t i = keys.count; i-- > 0 && found == REUSE_NONE;) {
		const struct keyset *set = &keys.sets[i];

		if (reuse_is_of(context, db, set, principal, password, &made))
			found = i == keys.count - 1 &&
					now_us - set->time_us <
					    REUSE_JUST_NOW_S * TIMESTAMP_SECOND
				    ? REUSE_JUST_NOW
				    : REUSE_AGAIN;
	}
	reuse_clear(context, &made);
	return found;
}
