/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages for humans: one line, one write, on standard error. */
#include "base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_LINE 1024

enum log_level log_threshold = LOG_INFO;

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

static void write_line(const char *line, size_t len)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, line, len);
	while (n < 0 && errno == EINTR);
}

void log_message(enum log_level level, const char *fmt, ...)
{
	static const char priority[][4] = {
		[LOG_ERROR] = "<3>",
		[LOG_WARN] = "<4>",
		[LOG_INFO] = "<6>",
		[LOG_DEBUG] = "<7>",
	};
	int saved_errno = errno;
	char line[LOG_LINE];
	va_list args;
	size_t used;

	if (level > log_threshold)
		return;
	used = (size_t)snprintf(line, sizeof(line), "%s",
				stderr_is_journal() ? priority[level] : "qcow2-ublkd: ");
	errno = saved_errno; /* for %m */
	va_start(args, fmt);
	vsnprintf(line + used, sizeof(line) - used - 1, fmt, args);
	va_end(args);
	make_one_line(line);
	used = strlen(line);
	line[used++] = '\n';
	write_line(line, used);
	errno = saved_errno;
}

int why_set(struct why *why, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return err;
}
