/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tell the service manager how far we are (protocol of sd_notify(3)). */
#ifndef NOTIFY_H
#define NOTIFY_H

/*
 * Send @state, lines of NAME=VALUE, to the socket named by $NOTIFY_SOCKET; without one, a no-op.
 * A manager that cannot be reached is worth a warning, no more.
 */
void notify(const char *state);

#endif
