#include "zones/target.h"

const char *
target_state_text(enum target_state state)
{
	static const char *const texts[] = {
		[TARGET_BUSY] = "busy",
		[TARGET_SETTLED] = "settled",
		[TARGET_DEFERRED] = "deferred",
		[TARGET_FAILING] = "failing",
	};

	return texts[state];
}
