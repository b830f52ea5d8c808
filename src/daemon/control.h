/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: a stream socket that answers one request per connection.
 *
 * A request is one line.  The answer is a report (see report.h), then a line `ok` or `error
 * SENTENCE`, then the end.  All of it by one thread, which polls and never waits: not for peers
 * that say nothing, nor for those that do not listen.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "base.h"

#include <poll.h>
#include <stdio.h>

#define CONTROL_PEERS 8u /* at a time; others wait until one has gone */
#define CONTROL_REQUEST 256u /* bytes, with the newline */
#define CONTROL_PATIENCE_MS 5000 /* for a request to come, and for an answer to be taken */
#define CONTROL_FDS (CONTROL_PEERS + 1)

/* What has become of a request. */
enum control_verdict {
	CONTROL_ANSWERED, /* what was printed is the answer */
	CONTROL_LATER, /* the answer comes later; ask control_has_room() before anything changes */
	CONTROL_REFUSED, /* the sentence is in @why */
};

/* @request: without its newline. */
typedef enum control_verdict control_answer(void *arg, const char *request, FILE *out,
					    struct why *why);

struct control_peer {
	int fd; /* -1: free */
	char request[CONTROL_REQUEST];
	size_t received;
	bool later; /* the answer comes with control_finish() or control_end() */
	char *answer; /* NULL: there is none yet */
	size_t answer_bytes;
	size_t sent;
	int64_t deadline_ms;
};

struct control {
	int fd; /* listening, or -1 */
	char path[108];
	control_answer *answer;
	void *arg;
	struct control_peer peer[CONTROL_PEERS];
};

/*
 * Listen at @path; what is there is removed.  The socket has mode 0600, and only processes of
 * root's and of our own user are answered.  -errno with the sentence in @why; then all other
 * calls are no-ops.
 */
int control_open(struct control *control, const char *path, control_answer *answer, void *arg,
		 struct why *why);

/*
 * Fill @fds, CONTROL_FDS of them, for poll(2): the number.  *@timeout_ms (-1: none) is lowered
 * to when control_turn() is to be called without any event.
 */
unsigned control_watch(const struct control *control, struct pollfd *fds, int *timeout_ms);

/* Take, answer and send whatever is possible without waiting. */
void control_turn(struct control *control);

/* May one more wait for its answer?  Some places stay free for others. */
bool control_has_room(const struct control *control);

/* Is anybody still there whose request begins with @word, and whose answer is to come later? */
bool control_is_awaited(const struct control *control, const char *word);

/*
 * Answer those whose answer was to come later and whose request begins with @word: with @failure
 * or, when it is NULL, with ok.
 */
void control_finish(struct control *control, const char *word, const char *failure);

/*
 * The end: answer those whose answer was to come later, with @failure or, when it is NULL, with
 * ok, and close.
 */
void control_end(struct control *control, const char *failure);

#endif
