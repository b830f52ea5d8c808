/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that sends START_DEV and answers what it reads, and what is said to the server. */
#include "first_start.h"
#include "buffers.h"
#include "chardev.h"
#include "helper.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (16 * KIB)
#define RING_ENTRIES 256u

/* How long the kernel is kept waiting for the server, all in all. */
#define SILENCE_MS 20000

/* How long the kernel may take none of what is submitted, before the start; and how soon it is asked again. */
#define SUBMIT_MS 5000
#define AGAIN_MS 10

/* How long the server waits for the helper. */
#define PATIENCE_MS 60000

enum first_word {
	FIRST_WANT, /* bytes at off, please: len of them */
	FIRST_HERE, /* the answer: res is 0 or -errno */
	FIRST_DONE, /* START_DEV has returned res, or never was sent; bytes are a sentence */
};

struct first_packet {
	enum first_word word;
	int32_t res;
	uint64_t off;
	uint32_t len;
	uint8_t bytes[CHUNK];
};

/* --- the helper's child ------------------------------------------------------------------------------ */

struct starter {
	int fd; /* to the server */
	int dev; /* /dev/ublkcN */
	const struct ublksrv_ctrl_dev_info *info;
	struct io_uring ring; /* of all queues */
	struct io_uring control; /* of START_DEV */
	struct buffers *buffers; /* by queue */
	const uint8_t **desc; /* by queue */
	int silence_ms; /* that are left */
	int read_err; /* of a read that the server did not answer well, or 0 */
	struct why why;
};

static int open_device(struct starter *starter)
{
	const struct ublksrv_ctrl_dev_info *info = starter->info;
	size_t bytes;

	starter->dev = chardev_open(info->dev_id, &starter->why);
	starter->buffers = calloc(info->nr_hw_queues, sizeof(*starter->buffers));
	starter->desc = calloc(info->nr_hw_queues, sizeof(*starter->desc));
	if (starter->dev < 0)
		return starter->dev;
	if (!starter->buffers || !starter->desc)
		return why_set(&starter->why, -ENOMEM, "first start: out of memory");
	for (unsigned i = 0; i < info->nr_hw_queues; i++) {
		struct buffers *buffers = &starter->buffers[i];

		*buffers = (struct buffers){
			.mode = buffers_mode(info->flags),
			.fd = starter->dev,
			.queue = i,
		};
		starter->desc[i] = chardev_map(starter->dev, i, info->queue_depth, &bytes);
		if (!starter->desc[i])
			return why_set(&starter->why, -errno, "first start: descriptors: %m");
		if (buffers_make(buffers, info->queue_depth, info->max_io_buf_bytes))
			return why_set(&starter->why, -ENOMEM, "first start: out of memory");
	}
	return 0;
}

/* True when the kernel has taken all; it may be short of memory for a while, and take some of it, or none. */
static bool submit(struct starter *starter)
{
	io_uring_submit(&starter->ring);
	return io_uring_sq_ready(&starter->ring) == 0;
}

/* What is left in the ring would be a tag that START_DEV waits for, until somebody stops the device. */
static int submit_all(struct starter *starter)
{
	int64_t begin = monotonic_ms();

	while (!submit(starter)) {
		if (monotonic_ms() - begin >= SUBMIT_MS)
			return why_set(
				&starter->why, -EAGAIN,
				"first start: the kernel has no memory to take FETCH commands");
		sleep_ms(AGAIN_MS);
	}
	return 0;
}

static void stage(struct starter *starter, uint32_t op, unsigned queue, unsigned tag, int32_t res)
{
	struct chardev_command command = {
		.op = op,
		.queue = queue,
		.tag = tag,
		.result = res,
		.addr = buffers_addr(&starter->buffers[queue], tag),
		.sqe_addr = buffers_sqe_addr(&starter->buffers[queue], tag),
	};

	/* Whoever ends while START_DEV waits for it wedges the device. */
	while (io_uring_sq_space_left(&starter->ring) == 0 && !submit(starter))
		sleep_ms(AGAIN_MS);
	chardev_stage(&starter->ring, starter->dev, &command);
}

static int fetch_all(struct starter *starter)
{
	const struct ublksrv_ctrl_dev_info *info = starter->info;
	int err = io_uring_queue_init(RING_ENTRIES, &starter->ring, 0);

	if (err)
		return why_set(&starter->why, err, "io_uring_setup: %s", strerror(-err));
	for (unsigned queue = 0; queue < info->nr_hw_queues; queue++) {
		for (unsigned tag = 0; tag < info->queue_depth && !err; tag++) {
			if (io_uring_sq_space_left(&starter->ring) == 0)
				err = submit_all(starter);
			if (!err)
				stage(starter, UBLK_U_IO_FETCH_REQ, queue, tag, 0);
		}
	}
	return err ? err : submit_all(starter);
}

/* Commands that come back before the start were refused, or taken back by somebody's stop. */
static int look_at_refused(struct starter *starter)
{
	struct io_uring_cqe *cqe;

	if (io_uring_peek_cqe(&starter->ring, &cqe))
		return 0;
	return why_set(&starter->why, cqe->res, "first start: FETCH: %s", strerror(-cqe->res));
}

static bool server_is_gone(const struct starter *starter)
{
	struct pollfd hangup = { .fd = starter->fd };

	return poll(&hangup, 1, 0) == 1;
}

/* The last moment to leave it: who is killed from here on until START_DEV returns wedges it. */
static int send_start(struct starter *starter)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQE128 };
	struct ublksrv_ctrl_cmd payload = {
		.dev_id = (uint32_t)starter->info->dev_id,
		.queue_id = UINT16_MAX,
		.data = { (unsigned long long)getpid() },
	};
	int fd = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	int err = fd < 0 ? -errno : io_uring_queue_init_params(1, &starter->control, &params);
	struct io_uring_sqe *sqe;

	if (err)
		return why_set(&starter->why, err, "first start: control device: %s",
			       strerror(-err));
	sqe = io_uring_get_sqe(&starter->control);
	must(sqe != NULL);
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = UBLK_U_CMD_START_DEV;
	memcpy(sqe->cmd, &payload, sizeof(payload));
	err = look_at_refused(starter);
	if (err)
		return err;
	if (server_is_gone(starter))
		return -EPIPE;
	err = io_uring_submit(&starter->control);
	return err == 1 ? 0 : why_set(&starter->why, -EIO, "first start: START_DEV not submitted");
}

/* One chunk from the server; -EPIPE when it is gone, -ETIME when it has been silent for too long. */
static int get_chunk(struct starter *starter, struct first_packet *packet)
{
	struct pollfd poll_fd = { .fd = starter->fd, .events = POLLIN };
	int64_t begin = monotonic_ms();
	int n;

	if (starter->silence_ms <= 0)
		return -ETIME;
	if (send(starter->fd, packet, offsetof(struct first_packet, bytes), MSG_NOSIGNAL) < 0)
		return -EPIPE;
	n = poll(&poll_fd, 1, starter->silence_ms);
	starter->silence_ms -= (int)(monotonic_ms() - begin);
	if (n == 0) {
		starter->silence_ms = 0;
		return -ETIME;
	}
	if (recv(starter->fd, packet, sizeof(*packet), 0) != sizeof(*packet))
		return -EPIPE;
	return packet->res;
}

static int get_bytes(struct starter *starter, uint8_t *to, uint64_t off, uint32_t len)
{
	static struct first_packet packet;

	for (uint32_t done = 0; done < len; done += packet.len) {
		int err;

		packet.word = FIRST_WANT;
		packet.off = off + done;
		packet.len = (uint32_t)min_u64(len - done, CHUNK);
		err = get_chunk(starter, &packet);
		if (err) {
			starter->read_err = err;
			return -EIO;
		}
		memcpy(to + done, packet.bytes, packet.len);
	}
	return 0;
}

/*
 * A request that was delivered.  Reads may be those that START_DEV waits for; what else there is
 * comes from somebody who has found the node early, and is delivered again to the real server.
 */
static void serve(struct starter *starter, unsigned queue, unsigned tag)
{
	const struct buffers *buffers = &starter->buffers[queue];
	struct ublksrv_io_desc desc;
	struct span span;
	uint32_t len;
	int err;

	memcpy(&desc, starter->desc[queue] + tag * sizeof(desc), sizeof(desc));
	len = desc.nr_sectors << SECTOR_SHIFT;
	if ((desc.op_flags & UBLK_IO_OP_MASK) != UBLK_IO_OP_READ || len > buffers->tag_bytes)
		return;
	err = buffers_take(buffers, tag, false, false, len, &span);
	if (!err)
		err = get_bytes(starter, span_address(span), desc.start_sector << SECTOR_SHIFT,
				len);
	if (!err)
		err = buffers_give(buffers, tag, span, len);
	stage(starter, UBLK_U_IO_COMMIT_AND_FETCH_REQ, queue, tag, err ? err : (int32_t)len);
}

static int serve_until_started(struct starter *starter)
{
	struct pollfd fds[] = {
		{ .fd = starter->ring.ring_fd, .events = POLLIN },
		{ .fd = starter->control.ring_fd, .events = POLLIN },
	};
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&starter->control, &cqe)) {
		poll(fds, ARRAY_SIZE(fds), io_uring_sq_ready(&starter->ring) ? AGAIN_MS : -1);
		while (io_uring_peek_cqe(&starter->ring, &cqe) == 0) {
			uint64_t user_data = cqe->user_data;
			int32_t res = cqe->res;

			io_uring_cqe_seen(&starter->ring, cqe);
			if (res == UBLK_IO_RES_OK)
				serve(starter, chardev_queue(user_data), chardev_tag(user_data));
		}
		submit(starter);
	}
	return cqe->res < 0 ? why_set(&starter->why, cqe->res, "ublk: START_DEV of device %d: %s",
				      starter->info->dev_id, strerror(-cqe->res)) :
			      0;
}

void first_start_serve(int fd, const struct ublksrv_ctrl_dev_info *info)
{
	struct starter starter = { .fd = fd, .info = info, .silence_ms = SILENCE_MS };
	struct first_packet last = { .word = FIRST_DONE };

	last.res = open_device(&starter);
	if (!last.res)
		last.res = fetch_all(&starter);
	if (!last.res)
		last.res = send_start(&starter);
	if (!last.res)
		last.res = serve_until_started(&starter);
	if (!last.res && starter.read_err)
		last.res = why_set(&starter.why, starter.read_err,
				   "/dev/ublkb%d: its partition table cannot be read: %s",
				   info->dev_id, strerror(-starter.read_err));
	memcpy(last.bytes, starter.why.text, sizeof(starter.why.text));
	send(fd, &last, sizeof(last), MSG_NOSIGNAL);
}

/* --- the server's side ------------------------------------------------------------------------------- */

/* Answer one packet.  True when it was the last, with its result in *@err. */
static bool hear(struct device *device, int fd, struct first_packet *packet, int *err,
		 struct why *why)
{
	const struct device_host *host = &device->options.host;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	if (poll(&poll_fd, 1, PATIENCE_MS) != 1) {
		*err = why_set(why, -ETIME, "%s: START_DEV: no answer", device->name);
		return true;
	}
	if (recv(fd, packet, sizeof(*packet), 0) <= 0) {
		*err = why_set(why, -EPIPE, "%s: START_DEV: the helper process has ended",
			       device->name);
		return true;
	}
	if (packet->word == FIRST_DONE) {
		*err = packet->res ? why_set(why, packet->res, "%s", (char *)packet->bytes) : 0;
		return true;
	}
	must(packet->len <= CHUNK);
	packet->res = host->read(host->arg, packet->bytes, packet->len, packet->off);
	packet->word = FIRST_HERE;
	*err = packet->res == -ETIME ?
		       why_set(why, -ETIME, "%s: no answer from the storage below the image",
			       device->name) :
		       0;
	send(fd, packet, sizeof(*packet), MSG_NOSIGNAL);
	return *err;
}

int first_start(struct device *device, struct why *why)
{
	struct help_job job = { .help = HELP_FIRST_START, .info = device->info };
	struct first_packet *packet = calloc(1, sizeof(*packet));
	int fd, err;

	if (!packet)
		return why_set(why, -ENOMEM, "%s: out of memory", device->name);
	err = helper_begin(&device->helper, &job, &fd, why);
	if (!err) {
		while (!hear(device, fd, packet, &err, why))
			;
		close(fd);
	}
	free(packet);
	return err;
}
