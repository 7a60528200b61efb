#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "service";

/* What is taken has a host and a port, and borrows from the URL. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice url = slice_of(data, size);
	struct service service;
	const char *why = NULL;

	if (service_parse(url, &service, &why) < 0) {
		fuzz_require(why, "a reason");
		return 0;
	}
	fuzz_require(service.kind < SERVICE_KIND_COUNT, "a known kind");
	fuzz_require(service.port != 0, "a port");
	fuzz_require(
	    service.host.size > 0 && service.host.data >= url.data &&
		service.host.data + service.host.size <= url.data + url.size,
	    "a host out of the URL");
	fuzz_require(
	    slice_is_printable(service.host), "a host of printable octets");
	return 0;
}
