/*
 * script: plays as text, so that corpora can be read and written by hand.
 *
 * The first octet is for the target. Each line is an operation; the loop turns
 * behind it, unless the line begins with `&`.
 *
 *   c:TEXT   the client says TEXT and CRLF     0:TEXT  connection 0 to a server
 *   c;TEXT   it says TEXT, with \r \n \0 \\    0;TEXT
 *   c$TEXT   the same, beneath its TLS             0$TEXT
 *   c%3      it says 3 * 8 KiB of lines        0%3
 *   c<  c>   it stops to read; reads again     0<  0>
 *   c.  c#   it says no more; it hangs up      0.  0#
 *   c!       it begins TLS                     0!
 *   +5       time passes: steps from 1 ms to beyond every time-out
 *   m2       account u2 must leave its server
 *   f1       all must leave server s1
 *   r1       server s1 refuses connections, or takes them again
 *   R  S     the relay retires; it stops
 *
 * All else is the target's own.
 */
#ifndef TESTS_FUZZ_SCRIPT_H
#define TESTS_FUZZ_SCRIPT_H

#include <stdbool.h>

#include "lib/slice.h"
#include "tests/fuzz/stage.h"

struct script_line {
	bool alone;              /* the loop turns behind it */
	char who, what;          /* NUL where there is none */
	struct slice text;       /* behind both; borrowed from the play */
	struct stage_peer *peer; /* who that is; NULL: nobody now */
};

/* False at the end. */
bool script_next(
    struct stage *stage, struct slice *rest, struct script_line *line);
/* False when it is none of the above. */
bool script_run(struct stage *stage, const struct script_line *line);

#endif
