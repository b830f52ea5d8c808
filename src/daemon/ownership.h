/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose is device /dev/ublkbN?  Each has a file in the register's folder that says which image it
 * shows and how; the server keeps it locked as long as it lives.
 */
#ifndef OWNERSHIP_H
#define OWNERSHIP_H

#include "base.h"
#include "identity.h"

#include <sys/types.h>

struct ownership {
	int fd; /* of the file; -1: none */
	int32_t id; /* of the device; with a claim, as those that follow */
	uint64_t below; /* 0: not written down */
	bool fresh; /* nobody has served it yet */
	char path[PATH_MAX];
};

/*
 * Claim device @id, whose server is gone, for @identity shown as @view.  0, or -EBUSY when a process
 * has it, -EINPROGRESS when that is a process which is just ending; *@pid is that process.
 * -ENOENT when the device shows something else or nothing is known of it; or -errno.
 */
int ownership_take(struct ownership *owner, int32_t id, const struct identity *identity,
		   const char *view, pid_t *pid);

/*
 * Claim the new device @id; what is known of an earlier one of that number goes.  @below is the sum (see
 * identity_add()) of the files that lie below the image, which is not 0.
 */
int ownership_make(struct ownership *owner, int32_t id, const struct identity *identity,
		   const char *view, uint64_t below);

/*
 * The same for one that was taken, before it is served: -ESTALE when who served it had another @below.
 * 0 or -errno.  A no-op without a claim.
 */
int ownership_match_below(struct ownership *owner, uint64_t below);

/* It is served.  0 or -errno.  A no-op without a claim. */
int ownership_served(struct ownership *owner);

/* Tell the janitor, if there is one, of the files that are removed then.  0 or -errno. */
int ownership_entrust(const struct ownership *owner);

/* Give up the claim; with the device, if it is gone, goes what was known of it.  A no-op without one. */
void ownership_drop(struct ownership *owner);

/* Forget what is known of devices that are gone and were never given back. */
void ownership_clear_away(void);

/* Has a process device @id?  Its number, 0 for none, -1 for one that is not known. */
pid_t ownership_holder(int32_t id);

/*
 * Is there a device, whoever serves it or nobody, that shows @identity in any way?  True also if that cannot
 * be told.
 */
bool ownership_is_left(const struct identity *identity);

/* Does a process that is not just ending show @identity as @view? */
bool ownership_is_shown(const struct identity *identity, const char *view);

#endif
