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
 * -EAGAIN with the sentence in @why when another process has it for longer than @patience_ms: what
 * a process that was killed had locked stays locked until the kernel has ended its rings.  A file
 * system without such locks is served all the same, with a warning.
 */
int lock_image(int fd, const char *name, bool read_only, long patience_ms, struct why *why);

/* For who does not know of such a process. */
#define LOCK_PATIENCE_MS 3000

/*
 * Give up what lock_image() has taken, if anything, when nothing is in flight to the file any
 * more.  To close it is not enough: the kernel ends a ring, which holds the file, in its own time.
 */
void unlock_image(int fd);

#endif
