/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket.
 *
 * A peer receives its request, then sends its answer, then goes.  What it can cost us is bounded:
 * a slot, a line, an answer in memory, and CONTROL_PATIENCE_MS in each of the two.
 */
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

/* --- open ---------------------------------------------------------------------------------------- */

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int err;

	if (fd < 0)
		return -errno;
	memcpy(address.sun_path, path, strlen(path) + 1);
	unlink(path);
	/* The mode must be right from the first moment on. */
	mask = umask(S_IXUSR | S_IRWXG | S_IRWXO);
	err = bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG) ?
		      -errno :
		      0;
	umask(mask);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int control_open(struct control *control, const char *path, control_answer *answer, void *arg,
		 struct why *why)
{
	size_t len = strlen(path);

	*control = (struct control){ .fd = -1, .answer = answer, .arg = arg };
	for (unsigned i = 0; i < CONTROL_PEERS; i++)
		control->peer[i].fd = -1;
	if (len >= sizeof(control->path))
		return why_set(why, -ENAMETOOLONG, "%s: too long for a socket", path);
	memcpy(control->path, path, len + 1);
	control->fd = listen_at(path);
	if (control->fd < 0)
		return why_set(why, control->fd, "%s: %s", path, strerror(-control->fd));
	return 0;
}

/* --- peers --------------------------------------------------------------------------------------- */

static void peer_close(struct control_peer *peer)
{
	close(peer->fd);
	free(peer->answer);
	*peer = (struct control_peer){ .fd = -1 };
}

static struct control_peer *free_peer(const struct control *control)
{
	for (unsigned i = 0; i < CONTROL_PEERS; i++)
		if (control->peer[i].fd < 0)
			return (struct control_peer *)&control->peer[i];
	return NULL;
}

static bool is_trusted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void accept_peers(struct control *control)
{
	struct control_peer *peer;

	while ((peer = free_peer(control))) {
		int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		if (!is_trusted(fd)) {
			close(fd);
			continue;
		}
		peer->fd = fd;
		peer->deadline_ms = monotonic_ms() + CONTROL_PATIENCE_MS;
	}
}

/* Send what the other side takes; what is left goes with a later turn. */
static void send_answer(struct control_peer *peer)
{
	while (peer->sent < peer->answer_bytes) {
		ssize_t n = send(peer->fd, peer->answer + peer->sent,
				 peer->answer_bytes - peer->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break;
		peer->sent += (size_t)n;
	}
	peer_close(peer);
}

/* The last line, and the way to the other side; @out and @text belong to the peer from now on. */
static void finish_answer(struct control_peer *peer, FILE *out, const char *failure)
{
	if (failure)
		fprintf(out, "error %s\n", failure);
	else
		fputs("ok\n", out);
	if (fclose(out)) {
		peer_close(peer);
		return;
	}
	peer->later = false;
	peer->deadline_ms = monotonic_ms() + CONTROL_PATIENCE_MS;
	send_answer(peer);
}

bool control_has_room(const struct control *control)
{
	unsigned waiting = 0;

	for (unsigned i = 0; i < CONTROL_PEERS; i++)
		waiting += control->peer[i].later;
	return waiting < CONTROL_PEERS / 2;
}

static void answer(struct control *control, struct control_peer *peer)
{
	FILE *out = open_memstream(&peer->answer, &peer->answer_bytes);
	struct why why = { "out of memory" };

	if (!out) {
		peer_close(peer);
		return;
	}
	switch (control->answer(control->arg, peer->request, out, &why)) {
	case CONTROL_ANSWERED:
		finish_answer(peer, out, NULL);
		return;
	case CONTROL_REFUSED:
		finish_answer(peer, out, why.text);
		return;
	case CONTROL_LATER:
		fclose(out);
		free(peer->answer);
		peer->answer = NULL;
		peer->later = true;
		return;
	}
}

static void receive_request(struct control *control, struct control_peer *peer)
{
	size_t room = sizeof(peer->request) - peer->received;
	ssize_t n = recv(peer->fd, peer->request + peer->received, room, MSG_DONTWAIT);
	char *end;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		peer_close(peer);
		return;
	}
	end = memchr(peer->request + peer->received, '\n', (size_t)n);
	peer->received += (size_t)n;
	if (end) {
		*end = '\0';
		answer(control, peer);
	} else if (peer->received == sizeof(peer->request)) {
		peer_close(peer);
	}
}

/* --- turns --------------------------------------------------------------------------------------- */

unsigned control_watch(const struct control *control, struct pollfd *fds, int *timeout_ms)
{
	int64_t now = monotonic_ms();
	unsigned n = 0;

	if (control->fd < 0)
		return 0;
	if (free_peer(control))
		fds[n++] = (struct pollfd){ .fd = control->fd, .events = POLLIN };
	for (unsigned i = 0; i < CONTROL_PEERS; i++) {
		const struct control_peer *peer = &control->peer[i];

		if (peer->fd < 0)
			continue;
		/* Who waits for the end is watched for hanging up only. */
		fds[n] = (struct pollfd){ .fd = peer->fd };
		if (!peer->later)
			fds[n].events = peer->answer ? POLLOUT : POLLIN;
		n++;
		if (!peer->later)
			timeout_lower(timeout_ms, peer->deadline_ms - now);
	}
	return n;
}

static bool hung_up(int fd)
{
	struct pollfd fds = { .fd = fd };

	return poll(&fds, 1, 0) > 0 && fds.revents & (POLLHUP | POLLERR);
}

static void peer_turn(struct control *control, struct control_peer *peer)
{
	if (peer->later) {
		if (hung_up(peer->fd))
			peer_close(peer);
		return;
	}
	if (peer->answer)
		send_answer(peer);
	else
		receive_request(control, peer);
	if (peer->fd >= 0 && !peer->later && monotonic_ms() >= peer->deadline_ms)
		peer_close(peer);
}

void control_turn(struct control *control)
{
	if (control->fd < 0)
		return;
	accept_peers(control);
	for (unsigned i = 0; i < CONTROL_PEERS; i++)
		if (control->peer[i].fd >= 0)
			peer_turn(control, &control->peer[i]);
}

static bool is_waiting(const struct control_peer *peer, const char *word)
{
	return peer->fd >= 0 && peer->later && strncmp(peer->request, word, strlen(word)) == 0;
}

bool control_is_awaited(const struct control *control, const char *word)
{
	for (unsigned i = 0; control->fd >= 0 && i < CONTROL_PEERS; i++)
		if (is_waiting(&control->peer[i], word) && !hung_up(control->peer[i].fd))
			return true;
	return false;
}

void control_finish(struct control *control, const char *word, const char *failure)
{
	for (unsigned i = 0; i < CONTROL_PEERS; i++) {
		struct control_peer *peer = &control->peer[i];

		if (is_waiting(peer, word)) {
			FILE *out = open_memstream(&peer->answer, &peer->answer_bytes);

			if (out)
				finish_answer(peer, out, failure);
			else
				peer_close(peer);
		}
	}
}

void control_end(struct control *control, const char *failure)
{
	if (control->fd < 0)
		return;
	control_finish(control, "", failure);
	for (unsigned i = 0; i < CONTROL_PEERS; i++)
		if (control->peer[i].fd >= 0)
			peer_close(&control->peer[i]);
	unlink(control->path);
	close(control->fd);
	control->fd = -1;
}
