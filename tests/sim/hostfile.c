/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Real files, qemu-img, and our own checker. */
#include "hostfile.h"

#include "checker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

bool hostfile_load(struct sparse *file, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t page[PAGE_BYTES];
	struct stat st;
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st)) {
		perror(path);
		if (fd >= 0)
			close(fd);
		return false;
	}
	for (off_t at = 0; at < st.st_size; at += n) {
		n = pread(fd, page, sizeof(page), at);
		if (n <= 0)
			break;
		if (!is_zero(page, (size_t)n))
			sparse_write(file, (uint64_t)at, page, (uint64_t)n);
	}
	close(fd);
	sparse_resize(file, (uint64_t)st.st_size);
	if (n < 0)
		perror(path);
	return n >= 0;
}

static bool store(const struct sparse *file, int fd)
{
	for (uint64_t i = 0; i < file->nused; i++) {
		uint64_t at = file->used[i] << PAGE_SHIFT;
		uint64_t len = at < file->size ? min_u64(PAGE_BYTES, file->size - at) : 0;

		if (len && pwrite(fd, sparse_at(file, at), len, (off_t)at) != (ssize_t)len)
			return false;
	}
	return ftruncate(fd, (off_t)file->size) == 0;
}

bool hostfile_store(const struct sparse *file, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && store(file, fd);

	if (!ok)
		perror(path);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* What lies below is no concern of a check, and not there. */
static int run_check(const char *path, const char *data)
{
	char options[10000], apart[5000] = "";
	int status;
	pid_t pid;

	if (data)
		snprintf(apart, sizeof(apart),
			 ",\"data-file\":{\"driver\":\"file\",\"filename\":\"%s\"}", data);
	snprintf(options, sizeof(options),
		 "json:{\"driver\":\"qcow2\",\"backing\":null,"
		 "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}%s}",
		 path, apart);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execlp("qemu-img", "qemu-img", "check", options, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 1;
	return WEXITSTATUS(status) == 127 ? -1 : WEXITSTATUS(status);
}

int hostfile_qemu_check(const struct sparse *file, const struct sparse *data)
{
	const char *dir = getenv("TMPDIR");
	char path[4096], apart[4100];
	int fd, verdict = 1;

	snprintf(path, sizeof(path), "%s/sim-XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(path);
	if (fd < 0) {
		perror(path);
		return 1;
	}
	snprintf(apart, sizeof(apart), "%s.d", path);
	if (store(file, fd) && (!data || hostfile_store(data, apart)))
		verdict = run_check(path, data ? apart : NULL);
	close(fd);
	unlink(path);
	if (data)
		unlink(apart);
	return verdict;
}

static void keep(void *arg, const char *text)
{
	struct why *why = arg;

	if (!why->text[0])
		snprintf(why->text, sizeof(why->text), "%s", text);
}

int hostfile_own_check(const struct sparse *file, struct why *first)
{
	struct check_file on_host = { .fd = memfd_create("sim", MFD_CLOEXEC), .name = "sim" };
	struct check_options options = { .repair = CHECK_ONLY, .arg = first, .finding = keep };
	struct check_result result;
	int status = CHECK_FAILED;
	struct why why;

	first->text[0] = '\0';
	if (on_host.fd < 0 || !store(file, on_host.fd))
		perror("memfd");
	else if (check_image(&on_host, &options, &result, &why))
		*first = why;
	else
		status = (int)check_status(&result);
	if (on_host.fd >= 0)
		close(on_host.fd);
	return status;
}
