#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "smtp_front";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_front(SERVICE_SUBMISSION, data, size);
	return 0;
}
