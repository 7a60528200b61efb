#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/config.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "settings";

/* Any file is either a configuration, or has errors that name it. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf errors = buf_bounded(1 << 20);
	int fd = memfd_create("settings", MFD_CLOEXEC);
	struct config *config;
	char path[64];

	fuzz_require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "file");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (config_read(&config, path, &errors) < 0) {
		fuzz_require(!config && errors.size > 0, "errors");
		fuzz_require(slice_starts_nocase(buf_slice(&errors), path),
		    "errors name the file");
	} else {
		fuzz_require(errors.size == 0, "no errors");
	}
	config_free(&config);
	buf_free(&errors);
	close(fd);
	return 0;
}
