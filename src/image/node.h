/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One layer of the chain: from a file to its header, its L1 table and a cache for its slices. */
#ifndef NODE_H
#define NODE_H

#include "engine.h"

/*
 * Open the qcow2 image in @file, or its snapshot @snapshot, if that is not NULL.  @read_only: what
 * only hurts writers is no reason to refuse it.
 * -errno with the sentence in @why; @node is to be closed in any case.
 */
int node_open(struct node *node, struct image *image, struct host_file *file, bool read_only,
	      const char *snapshot, struct why *why);

/* The same for a file whose bytes are the guest's.  Cannot fail. */
void node_open_raw(struct node *node, struct image *image, struct host_file *file);

void node_close(struct node *node);

#endif
