/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Landlock: what the calling thread may still do to files that it has not opened yet. */
#ifndef LANDLOCK_H
#define LANDLOCK_H

/*
 * Nothing, from here on, in this thread and those that it makes: no file is opened or made, no TCP
 * port bound or connected to; except that files of @folder (NULL: none) may be removed.  What is
 * open stays usable.  Needs PR_SET_NO_NEW_PRIVS.  0; -EOPNOTSUPP where the kernel has no Landlock;
 * -errno.
 */
int landlock_confine(const char *folder);

#endif
