/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory for the simulator itself, and the watch over the engine's: nothing may be allocated
 * between image_open() and image_free(); before, any allocation may fail.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Like their namesakes, but they do not fail and may be called from within engine calls. */
void *xmalloc(size_t bytes);
void *xrealloc(void *old, size_t bytes);

/* Address space that reads as zeros and costs nothing until it is touched; never given back. */
void *reserve_zeroed(size_t bytes);

/* Set while engine code runs that must not allocate. */
extern bool engine_running;

/* What the engine is given, of the heap and of pages. */
struct engine_memory {
	uint64_t nth; /* allocation that fails; 0: none */
	uint64_t asked; /* allocations; set it to 0 to count from there */
	uint64_t mapped; /* bytes of pages that have not been given back, ours too */
	bool failed;
};

extern struct engine_memory engine_memory;

#endif
