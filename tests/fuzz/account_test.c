#include "lib/account.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "account";

/* A record that is taken has a name, and a key to place it by. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf store = buf_bounded(NAME_SIZE_MAX);
	struct account account;
	const char *why = NULL;

	if (account_read(&account, slice_of(data, size), &why) < 0) {
		fuzz_require(why, "a reason");
		return 0;
	}
	fuzz_require(account.uid.size > 0 || account.address.size > 0 ||
			 account.principal.size > 0,
	    "a name of any kind");
	fuzz_require(account_status_text(account.status), "a status");
	(void)account_check(&account);
	(void)account_key(&account, &store);
	buf_free(&store);
	return 0;
}
