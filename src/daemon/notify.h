/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tell the service manager how far we are (protocol of sd_notify(3)). */
#ifndef NOTIFY_H
#define NOTIFY_H

/*
 * Find the socket named by $NOTIFY_SOCKET; later its name may mean nothing to this process.
 * Without one, or when the manager cannot be reached, which is worth a warning and no more, all
 * other calls are no-ops.
 */
void notify_open(void);

/* Send @state, lines of NAME=VALUE. */
void notify(const char *state);

#endif
