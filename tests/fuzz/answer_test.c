#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "zones/update.h"

const char fuzz_name[] = "answer";

/*
 * What a primary may answer. The signature is checked after the message was
 * parsed, and a stranger has none: whatever comes is not good.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char secret[] = "bG9uZy1lbm91Z2gtc2VjcmV0LWZvci10ZXN0aW5nIQ==";
	static char apex_text[] = "cell.test.";
	struct config_key key = { .title = "k", .secret = secret };
	struct config_zone zone = { .title = "cell.test", .key = &key };
	struct update_question question = { 0 };
	enum update_result result;
	ldns_pkt *answer = NULL;
	const char *why = NULL;

	zone.apex = ldns_dname_new_frm_str(apex_text);
	if (!zone.apex ||
	    update_ask(&question, &zone,
		size % 2 ? LDNS_RR_TYPE_SOA : LDNS_RR_TYPE_AXFR, &why) < 0)
		abort();
	/* Of the many ids there are the input knows the right one. */
	if (size >= 2)
		question.id = (uint16_t)(data[0] << 8 | data[1]);
	result = update_answer(
	    &question, slice_of(data, size), 1800000000, &answer, &why);
	fuzz_require(result != UPDATE_GOOD, "no answer without a signature");
	fuzz_require(why != NULL, "a reason");
	update_question_free(&question);
	ldns_rdf_deep_free(zone.apex);
	return 0;
}
