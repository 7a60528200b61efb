/*
 * fuzz: targets for libFuzzer, and how `make check` replays what they found.
 *
 * A target is one file NAME_test.c with LLVMFuzzerTestOneInput() and its name;
 * its inputs are files below tests/fuzz/corpus/NAME. `make fuzz-NAME` looks for
 * more of them; built without libFuzzer the same file runs all that are there.
 * A target does not only wait for crashes: it says what must hold of any input.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/service.h"
#include "lib/slice.h"

/* Of the target: its corpus. */
extern const char fuzz_name[];
/* Of the target: takes any input, returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program when something does not hold that must. */
void fuzz_require(bool holds, const char *what);
/* Removes a folder and the files in it; what is open of them stays usable. */
void fuzz_remove_folder(const char *path);

/*
 * Plays an input against the machine of that service (proxy/front.h,
 * proxy/back.h): the first octet says how the connection begins. Whatever
 * comes, it must not matter in what pieces.
 */
void fuzz_front(enum service_kind service, const uint8_t *data, size_t size);
void fuzz_back(enum service_kind service, const uint8_t *data, size_t size);

#endif
