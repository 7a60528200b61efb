#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "sieve_back";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_back(SERVICE_SIEVE, data, size);
	return 0;
}
