/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory that outlives the engine, as a host would keep it. */
#ifndef ESTATE_H
#define ESTATE_H

#include "image.h"
#include "rng.h"

struct estate_memory {
	uint8_t *bytes; /* NULL: none */
	uint64_t len;
};

struct estate {
	struct handover handover; /* for struct image_options */
	struct estate_memory kept; /* what is handed over */
	struct estate_memory made;
	bool handed; /* kept was looked at by the open under way, which has not kept its own so far */
};

void estate_init(struct estate *estate);

/* The memory is lost: the power has failed, or somebody has given it up. */
void estate_forget(struct estate *estate);

/* The open has come to nothing: what was made by then is of no use. */
void estate_drop_made(struct estate *estate);

/* A copy of what is handed over now; bytes NULL: nothing is. */
struct estate_memory estate_copy(const struct estate *estate);

/* It is handed over instead; @memory belongs to the estate from here on. */
void estate_put(struct estate *estate, struct estate_memory memory);

/* Change some bits of it. */
void estate_damage(struct estate_memory memory, struct rng *rng);

void estate_memory_free(struct estate_memory *memory);

#endif
