/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fuzzer's bytes, taken from the front; zeros when there are no more. */
#ifndef INPUT_H
#define INPUT_H

#include "base.h"

struct input {
	const uint8_t *at;
	size_t left;
};

/* @bytes bytes, at most 8, as a number: the first one is the lowest. */
static inline uint64_t input_take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->at++, in->left--)
		value |= (uint64_t)*in->at << 8 * i;
	return value;
}

static inline uint8_t input_byte(struct input *in)
{
	return (uint8_t)input_take(in, 1);
}

#endif
