#include "slapd-overlay/overlay.h"

#include "lib/base64.h"
#include "lib/password.h"

/* slapd asks for it without saying for which database. */
static struct keys *scheme_keys;

void
scheme_set_keys(struct keys *keys)
{
	scheme_keys = keys;
}

static int
check_scheme(const struct berval *scheme, const struct berval *stored,
    const struct berval *password, const char **text)
{
	struct buf der = buf_bounded(KEYSET_KEY_MAX);
	int code = LUTIL_PASSWD_ERR;

	(void)scheme;
	(void)text;
	if (scheme_keys &&
	    !password_fault(bv_slice(password), PASSWORD_SIZE_BOUND) &&
	    base64_decode(&der, bv_slice(stored)) == 0 &&
	    keys_check_one(scheme_keys, buf_slice(&der), slice_from(""),
		slice_from("-"), bv_slice(password)) == KEYS_RIGHT)
		code = LUTIL_PASSWD_OK;
	buf_wipe(&der);
	return code;
}

static int
hash_scheme(const struct berval *scheme, const struct berval *password,
    struct berval *hash, const char **text)
{
	struct buf value = buf_bounded(KEYSET_SIZE_MAX);
	struct berval made;
	int code = LUTIL_PASSWD_ERR;

	(void)scheme;
	*text = "no key can be made of the password";
	buf_add_string(&value, SCHEME_TEXT);
	if (scheme_keys &&
	    !password_fault(bv_slice(password), PASSWORD_SIZE_BOUND) &&
	    keys_make_one(scheme_keys, bv_slice(password), &value) == 0) {
		made = (struct berval){ value.size, value.data };
		ber_dupbv(hash, &made);
		*text = NULL;
		code = LUTIL_PASSWD_OK;
	}
	buf_wipe(&value);
	return code;
}

int
scheme_register(void)
{
	static char name[sizeof(SCHEME_TEXT)];
	static struct berval scheme = { sizeof(name) - 1, name };

	memcpy(name, SCHEME_TEXT, sizeof(name));
	return lutil_passwd_add(&scheme, check_scheme, hash_scheme);
}
