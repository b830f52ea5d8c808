/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory for the simulator itself, and the watch over the engine's: nothing may be allocated
 * between image_open() and image_free().
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Like their namesakes, but they do not fail and may be called from within engine calls. */
void *xmalloc(size_t bytes);
void *xrealloc(void *old, size_t bytes);

/* Address space that reads as zeros and costs nothing until it is touched; never given back. */
void *reserve_zeroed(size_t bytes);

/* Set while engine code runs that must not allocate. */
extern bool engine_running;

#endif
