/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who removes our files, and tells the command of --run to end, when we are somebody else by then
 * (--user): a process that stays root's, has no privilege besides, and removes nothing but files
 * that it was told of while we were root, too.  By the main thread.
 */
#ifndef JANITOR_H
#define JANITOR_H

#include "base.h"

#include <sys/types.h>

/*
 * Fork it.  Before threads, and before anything is open that it must not inherit.  @command: the
 * process of --run, or 0.  @confine() drops its privileges, but to remove files of a folder and to
 * send signals.  -errno with the sentence in @why.
 */
int janitor_spawn(pid_t command, void (*confine)(const char *folder), struct why *why);

/* Tell it of a file; NULL: that was all.  0 or -errno; 0 also when there is no janitor. */
int janitor_entrust(const char *path);

/* unlink(2), by ourselves if we may. */
int janitor_unlink(const char *path);

/* Send @signal to the command.  0 or -errno; -EPERM when there is no janitor. */
int janitor_signal(int signal);

#endif
