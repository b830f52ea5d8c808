/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages that a program may look for: in the journal each has an identifier (MESSAGE_ID) and a
 * priority that stay as they are, whatever becomes of its text.  The manual page lists them, in
 * MESSAGES, and a lint compares.
 */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "base.h"

/* An identifier is never changed, nor used again for something else. */
#define MESSAGE_LIST(m) \
	m(TAKEN_OVER, INFO, "39880484650245b0afec4a43df1765f5") \
	m(LEFT, INFO, "de1975ff629444d8994825cd2b6667ff") \
	m(NOT_LEFT, WARN, "d17edbe2eaa046e3a13038a94a83b4da") \
	m(IN_USE, INFO, "b42ad691b63f4f47bd19cb3e24a31114") \
	m(FAILED, ERROR, "d005dae40ac14302bf2cce62f1ad9c40") \
	m(HANGS, WARN, "e20ec35229904146b335e41ee014683e") \
	m(HUNG, INFO, "695f9fd8ce24461a974b2351f272f590") \
	m(FORCED, ERROR, "cfb2476d4db34a8d88e04ad6cdd9e1b5") \
	m(STANDS_STILL, ERROR, "b8b469cf98c845a2b8d6d57488f4b481") \
	m(BROKEN, ERROR, "15cd42c9cc7347bda6f8486b5f3413c3") \
	m(CORRUPT, ERROR, "bd55e0985048480a91810ff81305b5d8") \
	m(LOST, ERROR, "549649240cd94dc1aed50a10cd168e6b") \
	m(REPAIRED, INFO, "eb5457b290b6497fa8965fabc8a6d9b7")

#define MESSAGE_ENUM(name, level, id) MESSAGE_##name,
enum message { MESSAGE_LIST(MESSAGE_ENUM) MESSAGES };

/* As log_message(), with the level of the message, and its identifier where standard error is the journal. */
void log_event(enum message message, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Where standard error is the journal, connect to it, for log_event().  First of all; failures are
 * none, as there is standard error.
 */
void log_open_journal(void);

/* "/run/systemd/journal/socket", but for tests. */
extern const char *log_journal;

#endif
