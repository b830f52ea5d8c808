/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Everything that a seed decides before its first life begins. */
#ifndef CONFIG_H
#define CONFIG_H

#include "ring.h"
#include "shape.h"

enum { TRAFFIC_READ, TRAFFIC_WRITE, TRAFFIC_FLUSH, TRAFFIC_DISCARD, TRAFFIC_ZEROES, TRAFFIC_OPS };

/* What a seed aims at, as bits: for who looks for something that few seeds can show. */
#define AIM_LIST(a) \
	a(CHURN, "churn") a(REUSE, "reuse") a(COPIES, "copies") a(BREAK, "break") \
		a(BOUNCE, "bounce") a(GROWTH, "growth") a(KILLS, "kills") a(CORRUPT, "corrupt") \
			a(RESIZE, "resize") a(DURABLE, "durable") a(SPACE, "space")

#define AIM_ENUM(name, text) AIM_##name,
enum aim { AIM_LIST(AIM_ENUM) AIMS };

struct config {
	struct shape shape;
	uint32_t aims; /* bits of enum aim */

	/* the engine */
	unsigned lanes; /* the last one is the service lane */
	unsigned depth; /* requests of a lane at a time */
	uint64_t l2_cache_bytes;
	uint64_t reserve_bytes;
	unsigned buffers;
	unsigned workers; /* that decompress for lanes */
	uint32_t unpack_here_bytes; /* what lanes decompress by themselves */
	bool by_slot; /* requests name their buffers by number */

	/* the guest */
	unsigned op_weight[TRAFFIC_OPS];
	unsigned fua_percent;
	unsigned hot_percent; /* of requests go to hot regions */
	unsigned small_percent; /* of requests are within a cluster */
	bool races; /* the guest may have changes of one sector in flight twice */
	bool service_submits; /* requests on the service lane too */

	/* the host */
	struct faults faults;
	uint32_t early_percent;
	uint32_t held;
	uint32_t align;
	bool page_cache; /* transfers go through it */
	bool no_dsync; /* IO_DSYNC does nothing */

	/* the scheduler */
	unsigned lives;
	unsigned turns; /* of a life, about */
	unsigned step_weight;
	unsigned complete_weight;
	unsigned submit_weight;
	unsigned slow_lane; /* gets few turns; MAX_LANES: none */
	unsigned torn_percent; /* of looks at a mapping are interrupted half-way by other lanes */
	unsigned peek_one_in; /* look at what a power cut would leave, this often */

	/* kills */
	bool handover; /* memory outlives them */
	bool caches_change; /* who takes over has another l2_cache_bytes */
	unsigned kill_one_in; /* moves; 0: never */
	unsigned kill_points; /* until it dies, at most; 0: only between moves */

	bool corrupts; /* in each life a self-check of the engine fails */
};

struct config config_draw(struct rng *rng);

/* Make it one of those in which self-checks fail; nothing is drawn. */
void config_corrupts(struct config *config);

/* Its bit; 0: there is none of that name. */
uint32_t config_aim(const char *name);

/* Some lines. */
void config_print(const struct config *config);

#endif
