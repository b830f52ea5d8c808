/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest: requests by lot, and what it makes of their results. */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include "config.h"
#include "image.h"
#include "model.h"
#include "req.h"
#include "ring.h"

#define MAX_DEPTH 16
#define MAX_REQ_SECTORS 400u

/* One request that the guest has memory for. */
struct slot {
	struct req req;
	struct traffic *traffic;
	unsigned lane;
	bool busy;
	bool lost; /* with a process that was killed: to be asked again */
	version_t version; /* of a change or a flush; 0: none */
	version_t rest; /* of what a discard may leave as it was; 0: none */
	uint8_t *buffer;
	version_t seen[MAX_REQ_SECTORS]; /* READ: nothing older may come back */
	bool broken; /* the image was, when it was asked for */
	bool late; /* it reaches behind the end that the disk is about to have */
};

struct traffic {
	struct rng *rng;
	const struct config *config;
	struct sim_host *host;
	struct model *model;
	struct image *image;
	struct slot slot[MAX_LANES][MAX_DEPTH];
	unsigned busy;
	unsigned lost;
	bool read_only;
	bool look; /* a flush or a FUA write has just been acknowledged */
	uint64_t door; /* sectors that a disk has which is becoming smaller; 0: it is not */
	bool well_behaved; /* then nothing is asked for behind */
	int result; /* of the request that was done last */
	uint64_t requests; /* ever */
};

/* Memory for requests; once. */
void traffic_init(struct traffic *traffic, struct sim_host *host, struct model *model,
		  struct rng *rng);

/* A life begins. */
void traffic_start(struct traffic *traffic, const struct config *config, struct image *image,
		   bool read_only);

/* Another image is served after a kill: all without an answer are lost. */
void traffic_go_on(struct traffic *traffic, struct image *image);

/* Hand in a request again that was lost, of a random choice; false when there is none. */
bool traffic_ask_again(struct traffic *traffic);

/* Hand in one request on a random lane; false when there was no room for it. */
bool traffic_submit(struct traffic *traffic);

/* Hand in this one; false when there was no room for it. */
bool traffic_request(struct traffic *traffic, unsigned lane, enum req_op op, unsigned flags,
		     uint64_t guest, uint64_t len);

/* What the next request shall be. */
void traffic_draw(struct traffic *traffic, struct req *req);

/* Print what has not come back. */
void traffic_dump(const struct traffic *traffic);

#endif
