/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does anybody wait for what is there, or for what nobody is about to bring? */
#ifndef WAITS_H
#define WAITS_H

#include "image.h"

#define WAITS_SHARDS 64u

/* Kept from one look to the next at the same image; zeros at first. */
struct waits {
	bool waited; /* somebody, for clusters that are not there */
	uint64_t spare[WAITS_SHARDS]; /* the slice, plus 1, that was valid in the spare one of a shard */
};

/*
 * Between two turns: does not return when somebody does.  A wake that was lost shows here at once, and
 * not only when no other one happens to come.
 */
void waits_check(struct image *image, struct waits *waits);

/*
 * The same: nobody is told that there is no space, if there is some, or will be soon.  After a @mishap of the
 * host what is free may have been set aside.
 */
void waits_check_space(struct image *image, struct waits *waits, bool mishap);

/* Nothing is asked and nothing flies: nobody is within an epoch. */
void waits_check_rest(const struct image *image);

/* It has been closed, with @err: does its memory say so to who comes next? */
void waits_check_closed(const struct image *image, int err);

/* Would who comes after a kill know that it has broken? */
bool waits_break_is_known(const struct image *image);

/* Is the allocator dropping references? */
bool waits_is_dropping(const struct image *image);

#endif
