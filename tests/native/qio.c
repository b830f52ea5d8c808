/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests by the line: a qemu-io for this engine.
 *
 *	write OFF LEN PATTERN [fua]	discard OFF LEN
 *	read OFF LEN [PATTERN]		flush
 *	zero OFF LEN [nounmap] [fua]	compare FILE [OFF [LEN [OFF IN FILE]]]
 *	resize BYTES
 *	shrink BYTES			(resize to less, too)
 *	unpacked N			(no more clusters than that were decompressed)
 *	abort				(die of SIGKILL, whatever is under way)
 *
 * Numbers may end with k, M or G.  In front of a command, `aio` does not wait for its end; `wait`
 * waits for all.  Takes no locks: nobody else may have the image open.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_WORDS 8
#define COMPARE_BYTES (1 * MIB)

static struct qio {
	struct rig_options options;
	struct rig rig;
	struct image_info info;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned running;
	unsigned failed; /* commands, ever */
	unsigned turn; /* the lane of the next command */
} qio = {
	.options = { .queues = 2, .depth = 64, .size_most = 16 * KIB * GIB },
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
};

/* One command under way. */
struct command {
	struct req req;
	char line[256];
	unsigned lane;
	bool verify; /* READ: every byte is @pattern */
	uint8_t pattern;
	uint8_t *buffer;
	const uint8_t *wanted; /* READ: the bytes are these */
};

static void complain(const char *line, const char *what)
{
	fprintf(stderr, "%s: %s\n", line, what);
	pthread_mutex_lock(&qio.lock);
	qio.failed++;
	pthread_mutex_unlock(&qio.lock);
}

/* --- requests ------------------------------------------------------------------------------------------ */

static void judge(struct command *command)
{
	char text[128];

	if (command->req.result) {
		complain(command->line, strerror(-command->req.result));
		return;
	}
	for (uint64_t i = 0; i < command->req.len; i++) {
		uint8_t right = command->wanted ? command->wanted[i] : command->pattern;

		if ((!command->verify && !command->wanted) || command->buffer[i] == right)
			continue;
		snprintf(text, sizeof(text), "byte %llu is %#x, not %#x",
			 (unsigned long long)(command->req.guest.byte + i), command->buffer[i],
			 right);
		complain(command->line, text);
		return;
	}
}

static void on_done(struct req *req)
{
	struct command *command = container_of(req, struct command, req);

	judge(command);
	free(command->buffer);
	free(command);
	pthread_mutex_lock(&qio.lock);
	qio.running--;
	pthread_cond_broadcast(&qio.changed);
	pthread_mutex_unlock(&qio.lock);
}

static void submit(void *arg)
{
	struct command *command = arg;

	image_submit(qio.rig.image, qio.rig.lane[command->lane], &command->req);
}

/* Wait until no more than @left are running. */
static void wait_until(unsigned left)
{
	pthread_mutex_lock(&qio.lock);
	while (qio.running > left)
		pthread_cond_wait(&qio.changed, &qio.lock);
	pthread_mutex_unlock(&qio.lock);
}

static void start(struct command *command)
{
	wait_until(qio.options.depth - 1);
	command->lane = qio.turn++ % qio.options.queues;
	command->req.done = on_done;
	command->req.span = span_memory(command->buffer);
	pthread_mutex_lock(&qio.lock);
	qio.running++;
	pthread_mutex_unlock(&qio.lock);
	rig_call(&qio.rig, command->lane, submit, command);
}

static struct command *command_make(const char *line, enum req_op op)
{
	struct command *command = calloc(1, sizeof(*command));

	must(command);
	snprintf(command->line, sizeof(command->line), "%s", line);
	command->req.op = op;
	return command;
}

/* False, with a message, when the range is not on the disk. */
static bool set_range(struct command *command, uint64_t off, uint64_t len)
{
	uint64_t size = qio.info.size_bytes;

	if (off % SECTOR_SIZE || len % SECTOR_SIZE || len == 0 || off > size || len > size - off) {
		complain(command->line, "no such range on the disk");
		free(command);
		return false;
	}
	command->req.guest.byte = off;
	command->req.len = len;
	return true;
}

static void give_buffer(struct command *command)
{
	command->buffer = aligned_alloc(4096, round_up(command->req.len, 4096));
	must(command->buffer);
	memset(command->buffer, command->pattern, command->req.len);
}

/* --- comparing with a raw file ---------------------------------------------------------------------------- */

static void compare_piece(const char *line, int fd, uint64_t off, uint64_t len, uint64_t file_off)
{
	struct command *command = command_make(line, REQ_READ);
	uint8_t *wanted = calloc(1, len);

	/* A file that ends early stands for zeros. */
	must(wanted);
	if (pread(fd, wanted, len, (off_t)file_off) < 0) {
		complain(line, strerror(errno));
		free(command);
	} else if (set_range(command, off, len)) {
		command->wanted = wanted;
		give_buffer(command);
		start(command);
		wait_until(0);
	}
	free(wanted);
}

static void compare(const char *line, const char *path, uint64_t off, uint64_t len,
		    uint64_t file_off)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		complain(line, strerror(errno));
		return;
	}
	wait_until(0);
	for (uint64_t at = 0; at < len; at += COMPARE_BYTES)
		compare_piece(line, fd, off + at, min_u64(len - at, COMPARE_BYTES), file_off + at);
	close(fd);
}

/* --- lines ---------------------------------------------------------------------------------------------- */

static bool has_word(char *const *word, unsigned words, const char *wanted)
{
	for (unsigned i = 0; i < words; i++)
		if (strcmp(word[i], wanted) == 0)
			return true;
	return false;
}

static void transfer(const char *line, char *const *word, unsigned words)
{
	static const struct {
		const char *name;
		enum req_op op;
		unsigned least_words;
	} ops[] = {
		{ "write", REQ_WRITE, 4 },
		{ "read", REQ_READ, 3 },
		{ "zero", REQ_WRITE_ZEROES, 3 },
		{ "discard", REQ_DISCARD, 3 },
	};
	struct command *command;
	unsigned i = 0;

	while (i < ARRAY_SIZE(ops) && strcmp(word[0], ops[i].name) != 0)
		i++;
	if (i == ARRAY_SIZE(ops) || words < ops[i].least_words) {
		complain(line, "not a command");
		return;
	}
	command = command_make(line, ops[i].op);
	if (!set_range(command, rig_number(word[1]), rig_number(word[2])))
		return;
	command->req.flags = (has_word(word, words, "fua") ? (unsigned)REQ_FUA : 0) |
			     (has_word(word, words, "nounmap") ? (unsigned)REQ_NOUNMAP : 0);
	if (command->req.op == REQ_WRITE || (command->req.op == REQ_READ && words > 3)) {
		command->verify = command->req.op == REQ_READ;
		command->pattern = (uint8_t)rig_number(word[3]);
	}
	if (command->req.op == REQ_WRITE || command->req.op == REQ_READ)
		give_buffer(command);
	start(command);
}

static void expect_unpacked(const char *line, uint64_t most)
{
	uint64_t unpacked = image_stats(qio.rig.image).clusters_unpacked;
	char text[64];

	if (unpacked <= most)
		return;
	snprintf(text, sizeof(text), "it was %llu", (unsigned long long)unpacked);
	complain(line, text);
}

static void resize(const char *line, const char *size, bool shrink)
{
	struct why why;

	if (rig_resize(&qio.rig, rig_number(size), shrink, &why))
		complain(line, why.text);
	qio.info = image_info(qio.rig.image);
}

static void compare_words(const char *line, char *const *word, unsigned words)
{
	uint64_t off = words > 2 ? rig_number(word[2]) : 0;
	uint64_t len = words > 3 ? rig_number(word[3]) : qio.info.size_bytes;

	compare(line, word[1], off, len, words > 4 ? rig_number(word[4]) : off);
}

static void obey(const char *line, char *const *word, unsigned words)
{
	if (strcmp(word[0], "wait") == 0)
		wait_until(0);
	else if (strcmp(word[0], "flush") == 0)
		start(command_make(line, REQ_FLUSH));
	else if (strcmp(word[0], "unpacked") == 0 && words > 1)
		expect_unpacked(line, rig_number(word[1]));
	else if ((strcmp(word[0], "resize") == 0 || strcmp(word[0], "shrink") == 0) && words > 1)
		resize(line, word[1], word[0][0] == 's');
	else if (strcmp(word[0], "compare") == 0 && words > 1)
		compare_words(line, word, words);
	else if (strcmp(word[0], "abort") == 0)
		raise(SIGKILL);
	else
		transfer(line, word, words);
}

static void run_line(const char *line)
{
	char copy[256], *word[MAX_WORDS], *save = NULL;
	unsigned words = 0, first = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " \t", &save); w && words < MAX_WORDS;
	     w = strtok_r(NULL, " \t", &save))
		word[words++] = w;
	if (words == 0 || word[0][0] == '#')
		return;
	if (strcmp(word[0], "aio") == 0)
		first = 1;
	if (words > first)
		obey(line, word + first, words - first);
	if (!first)
		wait_until(0);
}

static void usage(void)
{
	fprintf(stderr,
		"usage: qio IMAGE [--lanes N] [--l2-cache BYTES] [--reserve BYTES] [--direct]\n"
		"           [--read-only] [--snapshot NAME|ID] [--key-file FILE] [--backing-format raw|qcow2] [--allow-path DIR]...\n"
		"           [-c COMMAND]...\n"
		"Without -c, commands are lines of standard input.\n");
	exit(2);
}

static const struct option options[] = {
	{ "lanes", required_argument, NULL, 'l' },
	{ "l2-cache", required_argument, NULL, 'C' },
	{ "reserve", required_argument, NULL, 'R' },
	{ "direct", no_argument, NULL, 'd' },
	{ "read-only", no_argument, NULL, 'r' },
	{ "snapshot", required_argument, NULL, 's' },
	{ "key-file", required_argument, NULL, 'K' },
	{ "backing-format", required_argument, NULL, 'F' },
	{ "allow-path", required_argument, NULL, 'A' },
	{ 0 },
};

/* The number of commands on the command line, which are moved to its front. */
static int parse(int argc, char **argv)
{
	int option, commands = 0;

	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			qio.options.queues = (unsigned)min_u64(rig_number(optarg), RIG_LANES - 1);
			break;
		case 'C':
			qio.options.l2_cache_bytes = rig_number(optarg);
			break;
		case 'R':
			qio.options.reserve_bytes = rig_number(optarg);
			break;
		case 'd':
			qio.options.direct = true;
			break;
		case 'r':
			qio.options.read_only = true;
			break;
		case 'K':
			qio.options.key_file = optarg;
			break;
		case 's':
			qio.options.snapshot = optarg;
			qio.options.read_only = true;
			break;
		case 'F':
			qio.options.backing_format = optarg;
			break;
		case 'A':
			must(qio.options.allow.count < ALLOW_PATHS_MAX);
			qio.options.allow.path[qio.options.allow.count++] = optarg;
			break;
		case 'c':
			argv[commands++] = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind != argc - 1)
		usage();
	qio.options.path = argv[optind];
	return commands;
}

int main(int argc, char **argv)
{
	int commands = parse(argc, argv), err;
	struct why why;
	char line[256];

	err = rig_open(&qio.rig, &qio.options, &why);
	if (err) {
		fprintf(stderr, "%s\n", why.text);
		return 1;
	}
	qio.info = image_info(qio.rig.image);
	for (int i = 0; i < commands; i++)
		run_line(argv[i]);
	while (!commands && fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		run_line(line);
	}
	wait_until(0);
	err = rig_close(&qio.rig);
	if (err)
		complain("close", strerror(-err));
	return qio.failed ? 1 : 0;
}
