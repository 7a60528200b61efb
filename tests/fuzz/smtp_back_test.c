#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "smtp_back";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_back(SERVICE_SUBMISSION, data, size);
	return 0;
}
