/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The key of encrypted images: where it comes from, and how it goes. */
#ifndef KEY_H
#define KEY_H

#include "base.h"

/* The credential of the service manager that is the key when no file is named. */
#define KEY_CREDENTIAL "qcow2-ublkd.key"

struct key {
	void *bytes; /* NULL: there is none */
	size_t len;
	int was_dumpable;
};

/*
 * Read all of @file, of standard input if it is "-", or of the credential if it is NULL.  A newline
 * at the end is a part of the key, as for cryptsetup and QEMU.  From here on, the process leaves no
 * core dump.  -errno with the sentence in @why; no file and no credential is no error.
 */
int key_read(struct key *key, const char *file, struct why *why);

/* Overwrite it.  @used: the process keeps what was made of it, and leaves no core dump. */
void key_forget(struct key *key, bool used);

#endif
