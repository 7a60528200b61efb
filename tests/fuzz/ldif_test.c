#include <stdint.h>

#include "replica/ldif.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "ldif";

/* Entries until the end or a fault; what is taken becomes a record. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum ldif_result result;
	struct entry entry;
	const char *why = NULL;
	struct ldif ldif;

	ldif_init(&ldif, slice_of(data, size));
	while ((result = ldif_next(&ldif, &entry, &why)) == LDIF_ENTRY) {
		struct buf record = buf_bounded(1 << 20);
		uint8_t id[LAYOUT_ID_SIZE];
		enum entry_kind kind;

		fuzz_require(entry.dn.size > 0, "an entry has a name");
		if (entry_make(&entry, &record, id, &kind, &why) < 0)
			fuzz_require(why, "a reason");
		buf_free(&record);
	}
	fuzz_require(result == LDIF_END || why, "a reason");
	ldif_free(&ldif);
	return 0;
}
