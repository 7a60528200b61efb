/* What a KDC makes of records of the replica, of names of principals, and of
 * the file of its neighbours. */
#include "kdc-plugin/principal.h"

#include <string.h>

#include "kdc-plugin/experience.h"
#include "kdc-plugin/lookup.h"
#include "kdc-plugin/nearest.h"
#include "lib/query.h"
#include "tests/fuzz/fuzz.h"

#define NOW_US INT64_C(1800000000000000)

const char fuzz_name[] = "principal";

static char realm[] = "CELL.TEST";
static const struct options options = { .replica = "",
	.lockout = "",
	.suffix = "dc=x",
	.bind = "",
	.bind_dn = "",
	.password_file = "",
	.ca_file = "",
	.certificate = "",
	.key = "",
	.policy = "",
	.realm = realm,
	.limit = 3,
	.window = 600,
	.lock = 600,
	.ticket_life = 36000,
	.renew_life = 604800,
	.timeout = 1 };

/* No more keys than the account has, and none for those who may not act. */
static void
fill(krb5_context context, const struct account *account, uint32_t kvno)
{
	struct principal_wish wish = {
		.kvno = kvno, .old_keys = true, .now_us = NOW_US
	};
	static struct principal_keys keys;
	struct locked locked;
	hdb_entry entry;

	memset(&entry, 0, sizeof(entry));
	principal_keys(account, &keys);
	(void)principal_locked(account, &locked);
	if (principal_fill(context, &options, account, &wish, &entry) == 0) {
		fuzz_require(entry.principal, "an entry is somebody's");
		fuzz_require(principal_may_act(account, NOW_US) ||
				 entry.flags.invalid ||
				 entry.flags.locked_out ||
				 !(entry.flags.client || entry.flags.server),
		    "who may not act is refused");
	}
	free_hdb_entry(&entry);
}

static void
read_name(krb5_context context, struct slice text)
{
	struct buf string = buf_bounded(4096);
	struct lookup_name name = { 0 };
	krb5_principal principal = NULL;

	buf_add_slice(&string, text);
	if (!string.failed && slice_find(text, '\0') == SIZE_MAX &&
	    krb5_parse_name(context, buf_string(&string), &principal) == 0) {
		(void)lookup_name_make(
		    context, principal, options.realm, &name);
		lookup_name_free(&name);
		krb5_free_principal(context, principal);
	}
	buf_free(&string);
}

static void
find_neighbours(struct slice text)
{
	static struct nearest servers[NEAREST_MAX];
	const struct nearest_wish wish = { .service = SERVICE_KERBEROS,
		.realm = slice_from("CELL.TEST"),
		.site = slice_from("here") };
	size_t count = nearest_find(servers, text, &wish);

	fuzz_require(count <= NEAREST_MAX, "neighbours are bounded");
	nearest_sort(servers, count);
	for (size_t i = 1; i < count; i++)
		fuzz_require(servers[i - 1].said < servers[i].said ||
				 (servers[i - 1].said == servers[i].said &&
				     servers[i - 1].rank <= servers[i].rank),
		    "in their order");
	(void)nearest_is_settled(servers, count);
}

/* What is kept comes back as it was. */
static void
remember(struct slice text)
{
	static struct experience experience, again;
	struct buf out = buf_bounded(1 << 16), more = buf_bounded(1 << 16);

	experience.count = again.count = 0;
	experience_read(&experience, text);
	fuzz_require(experience.count <= EXPERIENCE_MAX, "it is bounded");
	if (experience_write(&out, &experience) == 0) {
		experience_read(&again, buf_slice(&out));
		fuzz_require(experience_write(&more, &again) == 0 &&
				 slice_equal(buf_slice(&out), buf_slice(&more)),
		    "what was kept is known again");
	}
	buf_free(&out);
	buf_free(&more);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static krb5_context context;
	struct slice text = slice_of(data, size);
	krb5_principal principal = NULL;
	struct account account;
	const char *why;
	Key key;

	if (!context && krb5_init_context(&context) != 0)
		fuzz_require(false, "a context");
	if (account_read(&account, text, &why) == 0) {
		fill(context, &account, 0);
		fill(context, &account, 1);
		if (lookup_spell(
			context, &account, options.realm, &principal) == 0)
			krb5_free_principal(context, principal);
	}
	if (principal_decode_key(text, &key) == 0)
		free_Key(&key);
	read_name(context, text);
	find_neighbours(text);
	remember(text);
	(void)query_is_answer(SERVICE_KERBEROS, text);
	(void)query_is_answer(SERVICE_KPASSWD, text);
	return 0;
}
