/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Remove a device that nobody serves. */
#ifndef REMOVE_H
#define REMOVE_H

#include "base.h"

/*
 * Stop and delete device @id, if @is_ours() says so of its mark: see device_find().  Its users get
 * errors, and what they have not written yet is lost.  @confine as device_options.confine.
 * -ENODEV when there is none, -EPERM when it is somebody else's, -EBUSY when somebody serves it after
 * all, who is not seen from here, and there is no @force; or -errno.  With the sentence in @why.
 */
int device_remove(int32_t id, bool force, bool (*is_ours)(uint64_t mark), void (*confine)(void),
		  struct why *why);

#endif
