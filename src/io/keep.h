/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a new process inherits. */
#ifndef KEEP_H
#define KEEP_H

/*
 * In a process that was just forked: keep the standard streams and @fd, whose new number is
 * returned, and nothing else of what is open.
 */
int keep_only(int fd);

#endif
