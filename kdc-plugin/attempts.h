/*
 * attempts: one request for a ticket by password, from the fetch of its client
 * to its end.
 *
 * The attempt is counted (lib/lockout.h) before the KDC looks at the password.
 * What it then says, once or several times over, is kept until the request ends
 * and settled once.
 */
#ifndef KDC_PLUGIN_ATTEMPTS_H
#define KDC_PLUGIN_ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>

#include "kdc-plugin/courier.h"
#include "kdc-plugin/options.h"
#include "kdc-plugin/report.h"
#include "lib/account.h"
#include "lib/lockout.h"

struct attempts;
struct attempt;

/* NULL without memory. Borrows all. */
struct attempts *attempts_new(const struct options *options,
    struct courier *courier, const struct report *report);
void attempts_free(struct attempts **attempts);

/*
 * Begins one; *refused: whatever the password, because the account must not act
 * or has used up its failures. NULL with *why when nothing can be counted, and
 * then nobody may log in. attempt_end() takes it.
 */
struct attempt *attempts_begin(struct attempts *attempts,
    const struct account *account, int64_t now_us, bool *refused,
    const char **why);

/* What the KDC found out. */
void attempt_is_wrong(struct attempt *attempt);
void attempt_is_right(struct attempt *attempt);

/*
 * Settles it. checked: the KDC asks everybody with that entry for the password,
 * so that a right one means a login.
 */
void attempt_end(struct attempt **attempt, bool checked);

#endif
