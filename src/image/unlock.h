/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which key slot of an encrypted layer does the key open? */
#ifndef UNLOCK_H
#define UNLOCK_H

#include "engine.h"

/*
 * Set node->cipher of a node that is open and encrypted; nothing for others.  Blocking, for a second
 * or more with each slot that is tried.  -ENOKEY: no key was given; -EKEYREJECTED: it opens none; or
 * another -errno; with the sentence in @why.
 */
int unlock_node(struct node *node, const struct image_options *options, struct why *why);

#endif
