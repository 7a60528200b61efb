#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "pop3_front";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_front(SERVICE_POP3, data, size);
	return 0;
}
