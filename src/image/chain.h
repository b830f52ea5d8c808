/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The chain of layers below the top. */
#ifndef CHAIN_H
#define CHAIN_H

#include "engine.h"

/*
 * Open what lies below image->top, down to the last layer.  -errno with the sentence in @why; what
 * was opened is closed with chain_close().
 */
int chain_open(struct image *image, const struct image_options *options, struct why *why);
/* Open the external data file of a node, if it has one. */
int chain_open_data(struct node *node, const struct image_options *options, struct why *why);

void chain_close(struct image *image);

/* How many layers, with the top. */
unsigned chain_layers(const struct image *image);

#endif
