#include "replica/map.h"

static int
map_fill(struct store *store, struct cell *cell, const char **why)
{
	struct slice id = slice_from(""), record;

	for (;;) {
		if (store_next(store, STORE_CELL, id, &id, &record, why) != 0)
			return -1;
		if (id.size == 0)
			break;
		*why = "out of memory";
		if (cell_add(cell, record) != 0)
			return -1;
	}
	*why = "out of memory";
	return cell_finish(cell);
}

struct cell *
map_read(struct store *store, const char **why)
{
	struct cell *cell = cell_new();

	*why = "out of memory";
	if (!cell || store_begin(store, why) != 0) {
		cell_free(&cell);
		return NULL;
	}
	if (map_fill(store, cell, why) != 0)
		cell_free(&cell);
	store_abort(store);
	return cell;
}
