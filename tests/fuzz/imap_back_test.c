#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "imap_back";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_back(SERVICE_IMAP, data, size);
	return 0;
}
