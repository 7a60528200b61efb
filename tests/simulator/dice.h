/*
 * dice: chance that a seed reproduces, on every machine (SplitMix64, Steele,
 * Lea and Flood 2014).
 */
#ifndef SIMULATOR_DICE_H
#define SIMULATOR_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
	uint64_t state;
};

static inline uint64_t
dice_octets(struct dice *dice)
{
	uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* From first to last, both included. */
static inline int64_t
dice_between(struct dice *dice, int64_t first, int64_t last)
{
	return first +
	       (int64_t)(dice_octets(dice) % (uint64_t)(last - first + 1));
}

static inline unsigned
dice_below(struct dice *dice, unsigned count)
{
	return (unsigned)(dice_octets(dice) % count);
}

static inline bool
dice_chance(struct dice *dice, unsigned percent)
{
	return dice_below(dice, 100) < percent;
}

#endif
