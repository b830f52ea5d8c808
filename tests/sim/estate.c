/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory that outlives the engine. */
#include "estate.h"

#include "memory.h"
#include "report.h"

#include <string.h>
#include <sys/mman.h>

void estate_memory_free(struct estate_memory *memory)
{
	if (memory->bytes)
		munmap(memory->bytes, memory->len);
	*memory = (struct estate_memory){ 0 };
}

static int inherit(void *arg, void **memory, uint64_t *bytes, struct why *why)
{
	struct estate *estate = arg;

	(void)why;
	*memory = estate->kept.bytes;
	*bytes = estate->kept.len;
	return 0;
}

static int make(void *arg, uint64_t bytes, void **memory, struct why *why)
{
	struct estate *estate = arg;

	(void)why;
	if (estate->made.bytes)
		sim_fail("memory to hand over was made twice");
	estate->made.bytes = reserve_zeroed(bytes);
	estate->made.len = bytes;
	*memory = estate->made.bytes;
	return 0;
}

static int keep(void *arg, struct why *why)
{
	struct estate *estate = arg;

	(void)why;
	estate_memory_free(&estate->kept);
	estate->kept = estate->made;
	estate->made = (struct estate_memory){ 0 };
	return 0;
}

void estate_init(struct estate *estate)
{
	*estate = (struct estate){
		.handover = { .inherit = inherit, .make = make, .keep = keep, .arg = estate },
	};
	memset(estate->handover.identity, 0x5a, sizeof(estate->handover.identity));
}

void estate_drop_made(struct estate *estate)
{
	estate_memory_free(&estate->made);
}

void estate_forget(struct estate *estate)
{
	estate_drop_made(estate);
	estate_memory_free(&estate->kept);
}

struct estate_memory estate_copy(const struct estate *estate)
{
	struct estate_memory copy = { .len = estate->kept.len };

	if (!estate->kept.bytes)
		return copy;
	copy.bytes = reserve_zeroed(copy.len);
	memcpy(copy.bytes, estate->kept.bytes, copy.len);
	return copy;
}

void estate_put(struct estate *estate, struct estate_memory memory)
{
	estate_forget(estate);
	estate->kept = memory;
}

/* Where something is, mostly: zeros are zeros for pages on end. */
void estate_damage(struct estate_memory memory, struct rng *rng)
{
	unsigned flips = rng_one_in(rng, 2) ? 1 : rng_range(rng, 1, 64);

	while (flips--) {
		uint64_t at = rng_below_u64(rng, memory.len);

		for (unsigned tries = 0; tries < 10000 && !memory.bytes[at]; tries++)
			at = (at + 1) % memory.len;
		memory.bytes[at] ^= (uint8_t)(1u << rng_below(rng, 8));
	}
}
