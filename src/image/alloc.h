/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The allocator: the one task that all refcounts belong to. */
#ifndef ALLOC_H
#define ALLOC_H

#include "engine.h"

/*
 * Reads the refcount table; there is room for the clusters of a disk of @size_most.  -EINVAL, -EIO, -ENOMEM
 * with the sentence.
 */
int alloc_open(struct image *image, uint64_t size_most, struct why *why);
void alloc_free(struct image *image);

/* A run that a dead process has found and given to nobody.  Before lanes run. */
void alloc_inherit(struct image *image, uint64_t cluster, uint32_t count);

/* May the file reach to the end of these clusters? */
bool alloc_fits(const struct image *image, uint64_t cluster, uint64_t clusters);

/* Clusters up to @end are in use, or about to be.  The allocator's, and its children's. */
void alloc_raise_tail(struct image *image, uint64_t end);

/* The same at open, for what is in use already although the file ends before it. */
void alloc_reaches(struct image *image, uint64_t end);

/* Does this cluster read as zeros because nothing was ever there? */
bool alloc_never_written(const struct image *image, uint64_t cluster);

/*
 * Give back all stock, write all refcounts, trim the file: then alloc->closed is woken and
 * alloc->close_err says how it went.  No lane allocates any more.  Takes alloc->lock.
 */
void alloc_close_start(struct image *image);

#endif
