/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The new process of an upgrade: qcow2-ublkd upgrade starts it, while the old one serves, with the
 * old one's arguments.  It prepares what it can, and then takes the device over from the old one
 * instead of waiting for its death.  By the main thread, during the start.
 */
#ifndef SUCCESSOR_H
#define SUCCESSOR_H

#include "base.h"
#include "name.h"

/* Its value: our end of a socket to the command, a blank, and the name of who is to leave. */
#define SUCCESSOR_VARIABLE "QCOW2_UBLKD_UPGRADE"

struct successor {
	int fd; /* to the command; -1: this is no upgrade */
	char name[NAME_LENGTH + 1]; /* of the daemon that is to leave; "": nobody serves */
	uint64_t left_ns; /* when it has left, monotonic */
	uint64_t served_ns; /* when its device was served again */
};

/* From the environment, which it is taken out of. */
void successor_init(struct successor *successor);

/*
 * Ask the old daemon to leave, and wait until it has ended; @cancelled(@arg) tells whether to give
 * up.  A no-op when this is no upgrade.  -errno with the sentence in @why; mostly it has not left
 * then.
 */
int successor_step_in(struct successor *successor, bool (*cancelled)(void *arg), void *arg,
		      struct why *why);

/* The device is served again: what its users see as a pause is over. */
void successor_serves(struct successor *successor);

/* Tell the command how it ended: @failure, or NULL when the device is served.  No-ops from then on. */
void successor_tell(struct successor *successor, const char *failure);

#endif
