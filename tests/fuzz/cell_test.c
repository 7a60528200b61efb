#include "lib/cell.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "cell";

/* Records, each behind its length in two octets, make a map that can be used.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cell *cell = cell_new();
	size_t at = 0, count;
	const struct host *hosts;

	fuzz_require(cell, "memory");
	while (at + 2 <= size) {
		size_t length = (size_t)(data[at] << 8 | data[at + 1]);

		at += 2;
		length = length < size - at ? length : size - at;
		fuzz_require(
		    cell_add(cell, slice_of(data + at, length)) == 0, "memory");
		at += length;
	}
	fuzz_require(cell_finish(cell) == 0, "memory");
	hosts = cell_hosts(cell, &count);
	for (size_t i = 0; i < count; i++) {
		fuzz_require(hosts[i].name.size > 0, "a host has a name");
		(void)host_service(&hosts[i], SERVICE_IMAP);
	}
	for (size_t i = 0; i < count; i++)
		fuzz_require(
		    cell_host(cell, hosts[i].kind, hosts[i].name) != NULL,
		    "a host is found by its name");
	(void)cell_default_pool(cell);
	(void)cell_faults(cell);
	cell_free(&cell);
	return 0;
}
