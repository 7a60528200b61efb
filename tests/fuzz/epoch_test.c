#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "zones/epoch.h"

const char fuzz_name[] = "epoch";

/* The input as the strings of a TXT record; NULL when it is none. */
static ldns_rr *
make_record(struct slice input)
{
	ldns_rr *rr = ldns_rr_new();

	if (!rr)
		abort();
	ldns_rr_set_type(rr, LDNS_RR_TYPE_TXT);
	while (input.size > 0) {
		size_t size = (unsigned char)input.data[0];
		ldns_rdf *string;

		if (size >= input.size)
			size = input.size - 1;
		string = ldns_rdf_new_frm_data(
		    LDNS_RDF_TYPE_STR, size + 1, input.data);
		if (!string)
			abort();
		ldns_rdf_data(string)[0] = (uint8_t)size;
		ldns_rr_push_rdf(rr, string);
		input = slice_from_offset(input, size + 1);
	}
	return rr;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct epoch epoch, again;
	ldns_rr *rr = make_record(slice_of(data, size));
	ldns_rdf *owner = ldns_dname_new_frm_str("e.test.");
	ldns_rr *written;

	if (!owner)
		abort();
	if (epoch_parse(&epoch, rr) == 0) {
		fuzz_require(memchr(epoch.by, '\0', sizeof(epoch.by)) != NULL,
		    "a name has an end");
		fuzz_require(epoch_order(&epoch, &epoch) != EPOCH_AHEAD,
		    "nobody is ahead of himself");
		written = epoch_record(&epoch, owner, "host.test");
		fuzz_require(written && epoch_parse(&again, written) == 0 &&
				 csn_vector_equal(&epoch.csns, &again.csns) &&
				 epoch.time_us == again.time_us,
		    "an epoch comes back as it was written");
		ldns_rr_free(written);
	}
	ldns_rdf_deep_free(owner);
	ldns_rr_free(rr);
	return 0;
}
