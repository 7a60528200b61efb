/*
 * map: the map of the cell as the store has it, for the parts of replicad that
 * act on it. Everybody else reads it by reader.h.
 */
#ifndef REPLICA_MAP_H
#define REPLICA_MAP_H

#include "lib/cell.h"
#include "replica/store.h"

/*
 * Reads it, outside of a transaction; cell_free(). NULL with *why (text of LMDB
 * or libc).
 */
struct cell *map_read(struct store *store, const char **why);

#endif
