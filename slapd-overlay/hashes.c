#include "slapd-overlay/overlay.h"

/* Costs that a stored hash may ask for; beyond, it is a mistake or an attack.
 */
#define CRYPT_ROUNDS_MAX 1000000
#define BCRYPT_COST_MAX  14
#define YESCRYPT_N_MAX   'D'

/* A crypt hash says itself how long it takes. */
static bool
is_bounded_crypt(struct slice hash)
{
	static const char rounds[] = "rounds=";
	struct slice rest = slice_from_offset(hash, 3);
	uint64_t number;

	if (hash.size < 4 || hash.data[0] != '$')
		return true;
	if (slice_starts_nocase(rest, rounds)) {
		rest = slice_from_offset(rest, sizeof(rounds) - 1);
		return slice_to_uint(slice_first(rest, slice_find(rest, '$')),
			   CRYPT_ROUNDS_MAX, &number) == 0;
	}
	if (hash.data[1] == '2')
		return slice_to_uint(slice_first(slice_from_offset(hash, 4), 2),
			   BCRYPT_COST_MAX, &number) == 0;
	/* yescrypt and its kin: $y$jN.., one letter for the logarithm of N. */
	if (hash.data[1] == 'y' || hash.data[1] == '7' ||
	    slice_starts_nocase(hash, "$gy$")) {
		size_t at = hash.data[1] == 'g'   ? 5
			    : hash.data[1] == 'y' ? 4
						  : 3;

		return at < hash.size && (hash.data[at] <= YESCRYPT_N_MAX);
	}
	return true;
}

static bool
is_usable_hash(struct slice value)
{
	static const char crypt_scheme[] = "{CRYPT}";

	if (slice_starts_nocase(value, SCHEME_TEXT))
		return false;
	if (!slice_starts_nocase(value, crypt_scheme))
		return true;
	return is_bounded_crypt(
	    slice_from_offset(value, sizeof(crypt_scheme) - 1));
}

enum keys_verdict
hashes_check(Operation *op, Entry *entry, struct berval *password)
{
	BerVarray values = entry_values(entry, attribute_password());
	enum keys_verdict verdict = KEYS_WRONG;
	const char *text;

	for (size_t i = 0; values && values[i].bv_val; i++) {
		struct berval pair[2] = { values[i], { 0, NULL } };
		Attribute one = { .a_desc = attribute_password(),
			.a_vals = pair,
			.a_nvals = pair,
			.a_numvals = 1 };

		if (slice_starts_nocase(bv_slice(&values[i]), SCHEME_TEXT))
			continue;
		if (!is_usable_hash(bv_slice(&values[i])))
			verdict = KEYS_UNUSABLE;
		else if (slap_passwd_check(op, entry, &one, password, &text) ==
			 LDAP_SUCCESS)
			return KEYS_RIGHT;
	}
	return verdict;
}
