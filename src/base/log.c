/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages for humans: one line, one write, on standard error.  Those that programs look for too go to
 * the journal by its own protocol (systemd: "Native Journal Protocol"), where there is one: a datagram
 * of fields, each a line.
 */
#include "messages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG_LINE 1024
#define FIELDS 160 /* beside the line */

enum log_level log_threshold = LOG_INFO;
const char *log_journal = "/run/systemd/journal/socket";

static int journal = -1;

static const char priorities[] = {
	[LOG_ERROR] = '3',
	[LOG_WARN] = '4',
	[LOG_INFO] = '6',
	[LOG_DEBUG] = '7',
};

#define MESSAGE_LEVEL(name, level, id) [MESSAGE_##name] = LOG_##level,
static const enum log_level levels[] = { MESSAGE_LIST(MESSAGE_LEVEL) };

#define MESSAGE_ID(name, level, id) [MESSAGE_##name] = id,
static const char *const ids[] = { MESSAGE_LIST(MESSAGE_ID) };

/* The service manager names the stream that it reads; standard error may have been redirected. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* Names of files may hold anything; a message is one line all the same. */
static void make_one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

void log_open_journal(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (!stderr_is_journal() || strlen(log_journal) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, log_journal, strlen(log_journal) + 1);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (journal >= 0 && connect(journal, (struct sockaddr *)&address, sizeof(address))) {
		close(journal);
		journal = -1;
	}
}

/* By write(2), which is all that a confined thread may do.  False: it has not taken it. */
static bool write_fields(const char *line, enum log_level level, const char *id)
{
	char fields[LOG_LINE + FIELDS];
	int len =
		snprintf(fields, sizeof(fields),
			 "MESSAGE=%s\nPRIORITY=%c\nSYSLOG_IDENTIFIER=qcow2-ublkd\nMESSAGE_ID=%s\n",
			 line, priorities[level], id);

	return write(journal, fields, (size_t)len) == len;
}

static void write_line(const char *line, enum log_level level)
{
	char text[LOG_LINE + 16];
	int len = stderr_is_journal() ?
			  snprintf(text, sizeof(text), "<%c>%s\n", priorities[level], line) :
			  snprintf(text, sizeof(text), "qcow2-ublkd: %s\n", line);
	ssize_t n;

	do
		n = write(STDERR_FILENO, text, (size_t)len);
	while (n < 0 && errno == EINTR);
}

static void write_message(enum log_level level, const char *id, const char *fmt, va_list args)
{
	int saved_errno = errno; /* for %m too */
	char line[LOG_LINE];

	if (level > log_threshold)
		return;
	vsnprintf(line, sizeof(line), fmt, args);
	make_one_line(line);
	if (!id || journal < 0 || !write_fields(line, level, id))
		write_line(line, level);
	errno = saved_errno;
}

void log_message(enum log_level level, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	write_message(level, NULL, fmt, args);
	va_end(args);
}

void log_event(enum message message, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	write_message(levels[message], ids[message], fmt, args);
	va_end(args);
}

int why_set(struct why *why, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	make_one_line(why->text);
	return err;
}
