#include "slapd-overlay/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#define WAIT_MAX 10 /* s */

/*
 * Changes of one account's password, and of one host's wish, take turns: a
 * change is made of what stands in the entry, and the next one needs to see
 * what it left. Other changes do not wait.
 */
struct turn {
	TAILQ_ENTRY(turn) link;
	size_t size;
	char ndn[];
};

struct turns {
	pthread_mutex_t mutex;
	pthread_cond_t ended;
	TAILQ_HEAD(, turn) taken;
};

struct turns *
turns_new(void)
{
	struct turns *turns = calloc(1, sizeof(*turns));

	if (!turns)
		return NULL;
	TAILQ_INIT(&turns->taken);
	if (pthread_mutex_init(&turns->mutex, NULL) == 0) {
		if (pthread_cond_init(&turns->ended, NULL) == 0)
			return turns;
		(void)pthread_mutex_destroy(&turns->mutex);
	}
	free(turns);
	return NULL;
}

void
turns_free(struct turns **turns)
{
	struct turn *turn;

	if (!*turns)
		return;
	while ((turn = TAILQ_FIRST(&(*turns)->taken))) {
		TAILQ_REMOVE(&(*turns)->taken, turn, link);
		free(turn);
	}
	(void)pthread_cond_destroy(&(*turns)->ended);
	(void)pthread_mutex_destroy(&(*turns)->mutex);
	free(*turns);
	*turns = NULL;
}

static bool
is_taken(const struct turns *turns, struct slice ndn)
{
	struct turn *turn;

	TAILQ_FOREACH (turn, &turns->taken, link)
		if (slice_equal(slice_of(turn->ndn, turn->size), ndn))
			return true;
	return false;
}

/* False when it lasts too long. */
static bool
take(struct turns *turns, struct turn *turn)
{
	struct slice ndn = slice_of(turn->ndn, turn->size);
	struct timespec end;
	bool late = false;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_MAX;
	(void)pthread_mutex_lock(&turns->mutex);
	while (!late && is_taken(turns, ndn))
		late = pthread_cond_timedwait(
			   &turns->ended, &turns->mutex, &end) == ETIMEDOUT;
	if (!late)
		TAILQ_INSERT_TAIL(&turns->taken, turn, link);
	(void)pthread_mutex_unlock(&turns->mutex);
	return !late;
}

/* What an operation under way holds, and where it is from. */
struct holding {
	slap_callback callback;
	struct turns *turns;
	struct turn *turn;
};

static int
end_turn(Operation *op, SlapReply *rs)
{
	slap_callback *callback = op->o_callback;
	struct holding *holding = callback->sc_private;

	(void)rs;
	(void)pthread_mutex_lock(&holding->turns->mutex);
	TAILQ_REMOVE(&holding->turns->taken, holding->turn, link);
	(void)pthread_cond_broadcast(&holding->turns->ended);
	(void)pthread_mutex_unlock(&holding->turns->mutex);
	op->o_callback = callback->sc_next;
	free(holding->turn);
	op->o_tmpfree(holding, op->o_tmpmemctx);
	return 0;
}

int
turns_take(Operation *op, SlapReply *rs)
{
	struct turns *turns = overlay_of(op)->turns;
	size_t size = op->o_req_ndn.bv_len;
	struct holding *holding;
	struct turn *turn;

	if (!turns)
		return SLAP_CB_CONTINUE;
	turn = malloc(sizeof(*turn) + size);
	if (!turn)
		return LDAP_OTHER;
	turn->size = size;
	memcpy(turn->ndn, op->o_req_ndn.bv_val, size);
	if (!take(turns, turn)) {
		free(turn);
		rs->sr_text = "the entry is being changed by others";
		return LDAP_BUSY;
	}
	holding = op->o_tmpcalloc(1, sizeof(*holding), op->o_tmpmemctx);
	holding->turns = turns;
	holding->turn = turn;
	holding->callback.sc_private = holding;
	holding->callback.sc_cleanup = end_turn;
	holding->callback.sc_next = op->o_callback;
	op->o_callback = &holding->callback;
	return SLAP_CB_CONTINUE;
}
