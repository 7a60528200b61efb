#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "pop3_back";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_back(SERVICE_POP3, data, size);
	return 0;
}
