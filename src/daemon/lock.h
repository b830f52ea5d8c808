/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lock an image against other processes, in QEMU's way. */
#ifndef LOCK_H
#define LOCK_H

#include "base.h"

/*
 * Lock the open image file @fd, named @name in messages, for writing (or, @read_only, against
 * writers) until @fd is closed: QEMU's byte locks on the open file description, which QEMU and
 * its tools respect and take.  Before the header is read.
 *
 * -EAGAIN with the sentence in @why when another process has it; waits for that no longer than
 * 100 ms.  A file system without such locks is served all the same, with a warning.
 */
int lock_image(int fd, const char *name, bool read_only, struct why *why);

#endif
