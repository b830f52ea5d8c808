/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that sends control commands, and what is said between it and the server. */
#ifndef CONTROLLER_H
#define CONTROLLER_H

#include "base.h"

#define CONTROLLER_BYTES 1024 /* an affinity mask of 8192 CPUs is the largest payload */

/*
 * Not for the kernel: from now on device @id is to be deleted when the server is gone, -1: none.
 * Until then it is the device that was added last.  It is known by its mark and by who serves it, as
 * the number may be another device's by then.
 */
#define CONTROL_OWN 1u

/* One packet, either way; the answer has the sequence number of its command. */
struct control_packet {
	uint64_t sequence; /* from 1; 0: the controller's first words */
	uint32_t op; /* UBLK_U_CMD_* or CONTROL_OWN */
	int32_t id; /* of the device, or -1 */
	uint64_t data;
	uint32_t len; /* of bytes[] that belong to the command */
	int32_t res; /* answer: 0 or -errno */
	uint8_t bytes[CONTROLLER_BYTES]; /* payload, in and out; why not, in the first words */
};

/*
 * The life of the controller, whose end of the socket is @fd: open the control device, call
 * @confine(), say so, and execute commands until the other end is closed; then delete the device
 * that it is to own, also if it is only just being added, and also when it was asked to and has not been
 * able to yet.  By a child of the server.
 */
_Noreturn void controller_run(int fd, void (*confine)(void));

#endif
