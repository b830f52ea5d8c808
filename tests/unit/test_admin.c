/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names, reports, the register and the control socket, with peers that mean no good. */
#include "client.h"
#include "control.h"
#include "lockfile.h"
#include "name.h"
#include "registry.h"
#include "report.h"
#include "size.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/test-admin.XXXXXX";

/* --- names and sizes ----------------------------------------------------------------------------- */

static const char *name_for(const char *path)
{
	static char name[NAME_LENGTH + 1];

	name_of_image(name, path);
	return name;
}

static void test_names(void)
{
	char text[2 * NAME_LENGTH], name[NAME_LENGTH + 1];

	check_case("names of devices");
	CHECK(name_valid("vm") && name_valid("0") && name_valid("_a.B-c"));
	CHECK(!name_valid("") && !name_valid(".lock") && !name_valid("-x") && !name_valid("a/b"));
	CHECK(!name_valid("a b") && !name_valid("\xc3\xa4") && !name_valid("a\n"));
	CHECK(strcmp(name_for("/srv/vm.qcow2"), "vm") == 0);
	CHECK(strcmp(name_for("disk 1.img"), "disk_1") == 0);
	CHECK(strcmp(name_for("/a/.qcow2"), "_qcow2") == 0);
	CHECK(strcmp(name_for("/a/"), "disk") == 0);
	CHECK(strcmp(name_for("../-x"), "_x") == 0);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	CHECK(!name_valid(text) && name_valid(name_for(text)));
	CHECK_EQ(strlen(name_for(text)), NAME_LENGTH);
	name_alternative(name, name_for(text), 12);
	CHECK(name_valid(name) && strcmp(name + NAME_LENGTH - 4, "x-12") == 0);

	check_case("names that a partition's link may have");
	CHECK(name_is_partitions("data-part1") && name_is_partitions("a-part1-part22"));
	CHECK(!name_is_partitions("data-part") && !name_is_partitions("data-part1x"));
	CHECK(!name_is_partitions("data_part1") && !name_is_partitions("-part1"));
	CHECK(!name_is_partitions("part1") && !name_is_partitions("1") && !name_is_partitions(""));
	CHECK(strcmp(name_for("/srv/data-part1.qcow2"), "data_part1") == 0);
	CHECK(strcmp(name_for("a-part1-part22.img"), "a-part1_part22") == 0);
	CHECK(strcmp(name_for("data-part1.raw"), "data-part1.raw") == 0);
	memcpy(text + NAME_LENGTH - 6, "-part1", 6);
	CHECK(strcmp(name_for(text) + NAME_LENGTH - 7, "x_part1") == 0);

	check_case("sizes for people");
	CHECK(strcmp(size_text(text, 0), "0 B") == 0);
	CHECK(strcmp(size_text(text, 512), "512 B") == 0);
	CHECK(strcmp(size_text(text, 1536), "1.50 KiB") == 0);
	CHECK(strcmp(size_text(text, 1023 * KIB), "1.00 MiB") == 0);
	CHECK(strcmp(size_text(text, 10 * GIB), "10.0 GiB") == 0);
	CHECK(strcmp(size_text(text, 200 * GIB), "200 GiB") == 0);
	CHECK(strcmp(size_text(text, UINT64_MAX), "16.0 EiB") == 0);
	CHECK(strcmp(duration_text(text, 59), "59 s") == 0);
	CHECK(strcmp(duration_text(text, 86400 + 7200), "1 d 2 h") == 0);
}

/* --- reports ------------------------------------------------------------------------------------- */

static void test_reports(void)
{
	struct report report;
	char *text = NULL, buffer[64];
	size_t len;
	FILE *out = open_memstream(&text, &len);

	check_case("a report, written and read");
	report_text(out, "name", "a \"b\"\n\\c");
	report_number(out, "size", UINT64_MAX);
	report_flag(out, "queue.0.busy", true);
	report_number(out, "queue.0.depth", 1);
	report_number(out, "queue.1.depth", 2);
	fprintf(out, "last.list [1,2]\n");
	fclose(out);
	CHECK_EQ(report_parse(&report, text), 0);
	CHECK_EQ(report.lines, 6);
	CHECK_EQ(report_get(&report, "size"), UINT64_MAX);
	CHECK_EQ(report_get(&report, "queue.1.depth"), 2);
	CHECK_EQ(report_get(&report, "nothing"), 0);
	CHECK(report_is(&report, "queue.0.busy") && !report_is(&report, "size"));
	CHECK(strcmp(report_get_text(&report, "name", buffer, sizeof(buffer)), "a \"b\"\n\\c") ==
	      0);
	CHECK(strcmp(report_get_text(&report, "name", buffer, 3), "a ") == 0);
	CHECK(strcmp(report_get_text(&report, "size", buffer, 64), "") == 0);

	check_case("a report as JSON");
	text = NULL;
	out = open_memstream(&text, &len);
	report_print_json(&report, out, 0);
	fclose(out);
	CHECK(strcmp(text, "{\n"
			   "    \"name\": \"a \\\"b\\\"\\u000a\\\\c\",\n"
			   "    \"size\": 18446744073709551615,\n"
			   "    \"queue\": [\n"
			   "        {\n"
			   "            \"busy\": true,\n"
			   "            \"depth\": 1\n"
			   "        },\n"
			   "        {\n"
			   "            \"depth\": 2\n"
			   "        }\n"
			   "    ],\n"
			   "    \"last\": {\n"
			   "        \"list\": [1,2]\n"
			   "    }\n"
			   "}") == 0);
	free(text);
	report_free(&report);

	check_case("what is no report");
	CHECK_EQ(report_parse(&report, strdup("word\n")), -EPROTO);
	CHECK_EQ(report_parse(&report, strdup("a 1\nb 2")), -EPROTO);
	CHECK_EQ(report_parse(&report, strdup(" 1\n")), -EPROTO);
	CHECK_EQ(report_parse(&report, strdup("")), 0);
	report_free(&report);
	CHECK_EQ(report_parse(&report, strdup("a \"\\u00\n")), 0);
	CHECK(strcmp(report_get_text(&report, "a", buffer, sizeof(buffer)), "?") == 0);
	report_free(&report);
}

/* --- the register -------------------------------------------------------------------------------- */

/* 0 in the child; to its parent when it has begun to live(). */
static pid_t fork_child(int fd[2])
{
	pid_t pid;
	char c;

	if (pipe(fd))
		abort();
	pid = fork();
	if (pid == 0) {
		close(fd[0]);
		return 0;
	}
	close(fd[1]);
	CHECK_EQ(read(fd[0], &c, 1), 1);
	close(fd[0]);
	return pid;
}

/* In the child, which lives until it is killed. */
_Noreturn static void live(int fd, bool begun)
{
	if (begun && write(fd, "x", 1) != 1)
		abort();
	pause();
	_exit(0);
}

/* Another daemon that takes @name and lives until it is killed. */
static pid_t other_daemon(const char *name, const char *image, const char *device)
{
	struct registration own;
	struct why why;
	int fd[2];
	pid_t pid = fork_child(fd);

	if (pid == 0)
		live(fd[1], registry_enter(&own, name, image, true, &why) == 0 &&
				    registry_record(&own, device, image) == 0);
	return pid;
}

/* A process that has the file @path locked until it is killed. */
static pid_t lock_in_child(const char *path)
{
	int fd[2];
	pid_t pid = fork_child(fd);

	if (pid == 0)
		live(fd[1], lockfile_open(path, O_CREAT) >= 0);
	return pid;
}

static void end_daemon(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* In a moment, while we do something else.  Returns the process that does it. */
static pid_t end_daemon_soon(pid_t pid)
{
	pid_t other = fork();

	if (other == 0) {
		nanosleep(&(struct timespec){ .tv_nsec = 200 * 1000000 }, NULL);
		kill(pid, SIGKILL);
		_exit(0);
	}
	return other;
}

static void test_register(void)
{
	struct registration own, second;
	struct registry_entry entry, *entries;
	struct report report;
	struct why why;
	size_t count;
	pid_t pid;

	check_case("the register of a machine without daemons");
	CHECK_EQ(registry_list(&entries, &count, &why), 0);
	CHECK_EQ(count, 0);
	free(entries);
	CHECK_EQ(registry_look("vm", &entry), -ENOENT);

	check_case("a name is one daemon's");
	pid = other_daemon("vm", "/srv/image", "/dev/ublkb900000");
	CHECK_EQ(registry_enter(&own, "vm", "/", false, &why), -EBUSY);
	CHECK_CONTAINS(why.text, "the name vm is in use by process");
	CHECK_CONTAINS(why.text, "which serves /srv/image");
	CHECK(own.name[0] == '\0');
	CHECK_EQ(registry_enter(&own, "vm", "/", true, &why), 0);
	CHECK(strcmp(own.name, "vm-2") == 0);
	CHECK_EQ(registry_enter(&second, "vm", "/", true, &why), 0);
	CHECK(strcmp(second.name, "vm-3") == 0);
	registry_leave(&second);
	registry_leave(&second);
	CHECK_EQ(registry_list(&entries, &count, &why), 0);
	CHECK_EQ(count, 2);
	CHECK(strcmp(entries[0].name, "vm") == 0 && entries[0].alive);
	CHECK_EQ(entries[0].pid, pid);
	CHECK(strcmp(entries[0].device, "/dev/ublkb900000") == 0);
	CHECK(strcmp(entries[1].name, "vm-2") == 0 && entries[1].device[0] == '\0');
	free(entries);

	check_case("who was killed is seen, and makes room");
	CHECK_EQ(client_ask("vm", "stop", 5, &report, &why), -ENOENT);
	CHECK_CONTAINS(why.text, "is starting");
	end_daemon(pid);
	CHECK_EQ(client_ask("vm", "stop", 5, &report, &why), -ENOENT);
	CHECK_CONTAINS(why.text, "is gone");
	CHECK_EQ(registry_look("vm", &entry), 0);
	CHECK(!entry.alive && strcmp(entry.image, "/srv/image") == 0);
	CHECK_EQ(registry_enter(&second, "other", "/", false, &why), 0);
	CHECK_EQ(registry_look("vm", &entry), -ENOENT);
	registry_leave(&second);
	registry_leave(&own);
	CHECK_EQ(registry_list(&entries, &count, &why), 0);
	CHECK_EQ(count, 0);
	free(entries);
}

static void test_folder(void)
{
	static const mode_t harmless[] = { 0700, 0755, 0750, 01711 }, harmful[] = { 0770, 0702 };
	struct registry_folder watched, none = { .fd = -1 };
	char inner[64], *whole = folder;
	struct registration own;
	struct why why;

	registry_folder_open(&watched);
	check_case("a folder that others can look into");
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		CHECK_EQ(chmod(folder, harmless[i]), 0);
		CHECK_EQ(registry_folder_make(&why), 0);
		CHECK(registry_folder_is_safe(&watched));
	}

	check_case("a folder that others can write to is none");
	for (size_t i = 0; i < ARRAY_SIZE(harmful); i++) {
		CHECK_EQ(chmod(folder, harmful[i]), 0);
		CHECK_EQ(registry_enter(&own, "vm", "/", false, &why), -EPERM);
		CHECK_CONTAINS(why.text, "mode 0700");
		CHECK(!registry_folder_is_safe(&watched));
	}
	CHECK_EQ(chmod(folder, 0700), 0);
	CHECK(registry_folder_is_safe(&watched));
	CHECK(registry_folder_is_safe(&none));
	close(watched.fd);

	check_case("nor is one that was removed, or what is no folder");
	snprintf(inner, sizeof(inner), "%s/inner", folder);
	registry_folder = inner;
	CHECK_EQ(registry_folder_make(&why), 0);
	registry_folder_open(&watched);
	CHECK_EQ(rmdir(inner), 0);
	CHECK(!registry_folder_is_safe(&watched));
	close(watched.fd);
	CHECK_EQ(symlink("/", inner), 0);
	CHECK_EQ(registry_folder_make(&why), -EPERM);
	CHECK_EQ(unlink(inner), 0);
	registry_folder = whole;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	CHECK_EQ(write(fd, text, strlen(text)), (long long)strlen(text));
	close(fd);
}

static void make_file(const char *path)
{
	write_file(path, "");
}

static void check_moved(const char *first, const char *second)
{
	char record[64];
	struct registration own;
	struct stat st;
	struct why why;
	FILE *out;

	stat(first, &st);
	snprintf(record, sizeof(record), "%s/moved.lock", folder);
	out = fopen(record, "we");
	CHECK(out != NULL);
	report_number(out, "pid", 1);
	report_text(out, "device", "/dev/ublkb1");
	report_text(out, "image", first);
	report_number(out, "file.device", st.st_dev + 1);
	report_number(out, "file.number", st.st_ino);
	fclose(out);
	CHECK_EQ(registry_enter(&own, "other", first, true, &why), -EBUSY);
	CHECK_CONTAINS(why.text, "/dev/ublkb1 waits");
	CHECK_EQ(registry_enter(&own, "other", second, true, &why), 0);
	registry_leave(&own);
	unlink(record);
}

static void check_moves(const char *devices, const char *first, const char *second)
{
	char odd[64];

	check_case("a device waits for a file that is on another device now");
	check_moved(first, second);
	snprintf(odd, sizeof(odd), "%s/\xe4 \"\n\xc3\xa4", devices);
	make_file(odd);
	check_moved(odd, second);
	unlink(odd);
}

static void check_partitions_name(const char *image)
{
	struct registration own;
	struct registry_entry entry;
	char record[64], text[256];
	struct why why;

	check_case("no new device is called as a partition's link is");
	CHECK_EQ(registry_enter(&own, "disk-part1", image, false, &why), -EBUSY);
	CHECK_CONTAINS(why.text, "disk-part1 is what a partition");
	CHECK_EQ(registry_look("disk-part1", &entry), -ENOENT);

	check_case("one that waits keeps such a name");
	snprintf(record, sizeof(record), "%s/disk-part1.lock", folder);
	snprintf(text, sizeof(text), "pid 1\ndevice \"/dev/ublkb1\"\nimage \"%s\"\n", image);
	write_file(record, text);
	CHECK_EQ(registry_enter(&own, "disk-part1", image, false, &why), 0);
	CHECK_EQ(registry_record(&own, "/dev/ublkb1", image), 0);
	close(own.fd);
	CHECK_EQ(registry_enter(&own, "disk", image, true, &why), 0);
	CHECK(strcmp(own.name, "disk-part1") == 0);
	registry_leave(&own);
}

/* @own has taken the name of what waits for who serves @image. */
static void check_failed_start(struct registration *own, const char *image)
{
	struct registry_entry entry;
	struct why why;

	check_case("who fails before he serves what waits leaves its name");
	registry_leave(own);
	CHECK_EQ(registry_look("disk", &entry), 0);
	CHECK(!entry.alive && strcmp(entry.device, "/dev/ublkb0") == 0);
	CHECK_EQ(registry_enter(own, "disk", image, false, &why), 0);
	CHECK_EQ(registry_record(own, "/dev/ublkb0", image), 0);
	registry_leave(own);
	CHECK_EQ(registry_look("disk", &entry), -ENOENT);
}

/* Device 1 waits for who serves @second, by the name "disk-2"; nobody has the name "disk". */
static void check_other_name(const char *first, const char *second)
{
	struct registry_entry entry;
	struct registration own, after;
	struct why why;
	char busy[64];
	pid_t alive;

	check_case("who goes on with a device by another name leaves the old one to others");
	end_daemon(other_daemon("disk", first, "/dev/ublkb0"));
	alive = other_daemon("alive", "/", "/dev/ublkb0");
	CHECK_EQ(registry_enter(&own, "other", first, false, &why), 0);
	CHECK_EQ(registry_record(&own, "/dev/ublkb0", first), 0);
	CHECK_EQ(registry_enter(&after, "disk", second, false, &why), -EBUSY);
	registry_forget_names(&own, "/dev/ublkb0");
	CHECK_EQ(registry_look("disk", &entry), -ENOENT);
	CHECK_EQ(registry_look("other", &entry), 0);
	CHECK_EQ(registry_look("disk-2", &entry), 0);
	CHECK_EQ(registry_look("alive", &entry), 0);
	end_daemon(alive);

	check_case("it does not wait for who is just beginning");
	snprintf(busy, sizeof(busy), "%s/.lock", folder);
	alive = lock_in_child(busy);
	registry_forget_names(&own, "/dev/ublkb0");
	CHECK_EQ(registry_look("alive", &entry), 0);
	end_daemon(alive);
	registry_forget_names(&own, "/dev/ublkb0");
	CHECK_EQ(registry_look("alive", &entry), -ENOENT);
	registry_leave(&own);
}

/* What waits for a new process is found by its old name, and by nobody else's image. */
static void test_waiting(void)
{
	static char devices[] = "/tmp/test-admin.devices.XXXXXX";
	char first[64], second[64], device[2][64], record[64];
	struct registry_entry *entries;
	struct registration own;
	pid_t leaver, other;
	struct why why;
	size_t count;

	CHECK(mkdtemp(devices) != NULL);
	registry_devices = devices;
	snprintf(first, sizeof(first), "%s/first", devices);
	snprintf(second, sizeof(second), "%s/second", devices);
	make_file(first);
	make_file(second);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(device[i], sizeof(device[i]), "%s/ublkc%u", devices, i);
		make_file(device[i]);
	}

	check_case("a device that waits keeps its name");
	end_daemon(other_daemon("disk", first, "/dev/ublkb0"));
	end_daemon(other_daemon("disk", second, "/dev/ublkb1"));
	CHECK_EQ(registry_enter(&own, "disk", second, true, &why), 0);
	CHECK(strcmp(own.name, "disk-2") == 0);
	/* Killed before it serves: nothing is forgotten. */
	close(own.fd);
	CHECK_EQ(registry_enter(&own, "disk", second, true, &why), 0);
	CHECK(strcmp(own.name, "disk-2") == 0);
	close(own.fd);
	CHECK_EQ(registry_enter(&own, "disk", second, false, &why), -EBUSY);
	CHECK_CONTAINS(why.text, "the name disk is that of /dev/ublkb0, which waits");
	CHECK_EQ(registry_enter(&own, "disk", first, false, &why), 0);
	CHECK(strcmp(own.name, "disk") == 0);
	check_failed_start(&own, first);
	check_other_name(first, second);

	check_case("an earlier version has not written down which file it is");
	snprintf(record, sizeof(record), "%s/old.lock", folder);
	write_file(record, "pid 1\ndevice \"/dev/ublkb1\"\nimage \"/srv/image\"\n");
	CHECK_EQ(registry_enter(&own, "old", first, false, &why), 0);
	registry_leave(&own);

	check_moves(devices, first, second);
	unlink(device[1]);
	registry_clear_away();
	make_file(device[1]);
	check_partitions_name(second);

	check_case("when it is gone, its name is free");
	unlink(device[1]);
	end_daemon(other_daemon("disk", first, "/dev/ublkb0"));
	unlink(device[0]);
	CHECK_EQ(registry_enter(&own, "disk", second, true, &why), 0);
	CHECK(strcmp(own.name, "disk") == 0);
	registry_leave(&own);
	CHECK_EQ(registry_list(&entries, &count, &why), 0);
	CHECK_EQ(count, 0);
	free(entries);

	check_case("who is just leaving is waited for");
	leaver = other_daemon("disk", first, "/dev/ublkb0");
	other = end_daemon_soon(leaver);
	CHECK_EQ(registry_enter(&own, "disk", first, true, &why), 0);
	CHECK(strcmp(own.name, "disk") == 0);
	waitpid(leaver, NULL, 0);
	waitpid(other, NULL, 0);
	registry_leave(&own);
	unlink(first);
	unlink(second);
	rmdir(devices);
}

/* Many that want the same name at once all get one, and all different ones. */
static void test_crowd(void)
{
	struct registry_entry *entries;
	struct why why;
	size_t count;
	pid_t pid[16];
	int go[2];
	char c;

	check_case("many at once");
	CHECK_EQ(pipe(go), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(pid); i++) {
		struct registration own;

		pid[i] = fork();
		if (pid[i])
			continue;
		close(go[1]);
		c = (char)read(go[0], &c, 1);
		if (registry_enter(&own, "crowd", "/", true, &why))
			_exit(1);
		/* Live until all of them have one. */
		for (int tries = 0; tries < 2000; tries++) {
			if (registry_list(&entries, &count, &why) == 0 && count == ARRAY_SIZE(pid))
				_exit(0);
			free(entries);
			nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
		}
		_exit(1);
	}
	close(go[0]);
	close(go[1]);
	for (unsigned i = 0; i < ARRAY_SIZE(pid); i++) {
		int status;

		CHECK_EQ(waitpid(pid[i], &status, 0), pid[i]);
		CHECK_EQ(status, 0);
	}
}

/* --- the control socket -------------------------------------------------------------------------- */

static char socket_path[128];

struct server {
	struct control control;
	pthread_t thread;
	_Atomic bool ends;
	unsigned answers;
	unsigned taken; /* whose answer comes at the end */
};

static enum control_verdict answer(void *arg, const char *request, FILE *out, struct why *why)
{
	struct server *server = arg;

	server->answers++;
	if (strcmp(request, "later") == 0) {
		if (!control_has_room(&server->control)) {
			why_set(why, -EBUSY, "others wait");
			return CONTROL_REFUSED;
		}
		server->taken++;
		return CONTROL_LATER;
	}
	if (strcmp(request, "large") == 0) {
		for (int i = 0; i < 100000; i++)
			report_number(out, "a.number.that.is.there.many.times", 1000000);
		return CONTROL_ANSWERED;
	}
	if (strcmp(request, "hello") != 0) {
		why_set(why, -EINVAL, "what?");
		return CONTROL_REFUSED;
	}
	report_text(out, "answer", "world");
	return CONTROL_ANSWERED;
}

static void *serve(void *arg)
{
	struct server *server = arg;

	while (!server->ends) {
		struct pollfd fds[CONTROL_FDS];
		int timeout_ms = 20;
		unsigned n = control_watch(&server->control, fds, &timeout_ms);

		CHECK(timeout_ms >= 0 && timeout_ms <= 20);
		poll(fds, n, timeout_ms);
		control_turn(&server->control);
	}
	control_end(&server->control, NULL);
	return NULL;
}

static int raw_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	CHECK_EQ(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Until the other side closes; true when it says nothing. */
static bool closed_silently(int fd)
{
	char c;
	bool silent = recv(fd, &c, 1, 0) <= 0;

	close(fd);
	return silent;
}

static void test_questions(void)
{
	struct report report = { 0 };
	struct stat st;
	struct why why;
	char text[32];

	check_case("question and answer");
	CHECK(stat(socket_path, &st) == 0 && (st.st_mode & 0777) == 0600);
	CHECK_EQ(client_ask("test", "hello", 5, &report, &why), 0);
	CHECK(strcmp(report_get_text(&report, "answer", text, sizeof(text)), "world") == 0);
	report_free(&report);
	CHECK_EQ(client_ask("test", "large", 5, &report, &why), -EPROTO); /* too many lines */
	CHECK_EQ(client_ask("test", "nonsense", 5, &report, &why), -EREMOTEIO);
	CHECK(strcmp(why.text, "what?") == 0);
	CHECK_EQ(client_ask("nobody", "hello", 5, &report, &why), -ENOENT);
}

static void test_hostile_peers(struct server *server)
{
	int fd[CONTROL_PEERS], one;
	unsigned answers = server->answers;
	struct report report;
	struct why why;
	char noise[4096];

	check_case("a line that does not end, and one that comes byte by byte");
	memset(noise, 'x', sizeof(noise));
	one = raw_connect();
	CHECK(send(one, noise, sizeof(noise), MSG_NOSIGNAL) > 0);
	CHECK(closed_silently(one));
	CHECK_EQ(server->answers, answers);
	one = raw_connect();
	for (const char *c = "hello\n"; *c; c++)
		CHECK_EQ(send(one, c, 1, MSG_NOSIGNAL), 1);
	CHECK(!closed_silently(one));

	check_case("peers that hang up at every moment");
	for (int i = 0; i < 200; i++) {
		one = raw_connect();
		if (i % 4 == 1)
			send(one, "hel", 3, MSG_NOSIGNAL);
		else if (i % 4 == 2)
			send(one, "large\n", 6, MSG_NOSIGNAL);
		else if (i % 4 == 3)
			send(one, "later\n", 6, MSG_NOSIGNAL);
		close(one);
	}

	check_case("peers that say nothing or do not listen keep nobody out for long");
	for (unsigned i = 0; i < CONTROL_PEERS; i++) {
		fd[i] = raw_connect();
		if (i % 2)
			CHECK_EQ(send(fd[i], "large\n", 6, MSG_NOSIGNAL), 6);
	}
	CHECK_EQ(client_ask("test", "hello", 3 * CONTROL_PATIENCE_MS / 1000, &report, &why), 0);
	report_free(&report);
	for (unsigned i = 0; i < CONTROL_PEERS; i++)
		close(fd[i]);
}

static void test_later(struct server *server)
{
	unsigned taken = server->taken;
	int fd[CONTROL_PEERS];
	struct report report;
	struct why why;
	char text[64];
	ssize_t n;

	check_case("answers that come at the end");
	for (unsigned i = 0; i < CONTROL_PEERS; i++) {
		fd[i] = raw_connect();
		CHECK_EQ(send(fd[i], "later\n", 6, MSG_NOSIGNAL), 6);
		/* Half of them are refused at once, so that others can still ask. */
		if (i >= CONTROL_PEERS / 2) {
			n = recv(fd[i], text, sizeof(text) - 1, 0);
			text[n > 0 ? n : 0] = '\0';
			CHECK_CONTAINS(text, "error others wait");
		}
	}
	CHECK_EQ(client_ask("test", "hello", 5, &report, &why), 0);
	report_free(&report);
	server->ends = true;
	pthread_join(server->thread, NULL);
	CHECK_EQ(server->taken, taken + CONTROL_PEERS / 2);
	for (unsigned i = 0; i < CONTROL_PEERS / 2; i++) {
		n = recv(fd[i], text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		CHECK(strcmp(text, "ok\n") == 0);
	}
	for (unsigned i = 0; i < CONTROL_PEERS; i++)
		close(fd[i]);
	CHECK(access(socket_path, F_OK) != 0);
	CHECK_EQ(client_ask("test", "hello", 5, &report, &why), -ENOENT);
}

static void test_control(void)
{
	static struct server server;
	struct why why;

	check_case("a control socket");
	registry_socket(socket_path, "test");
	/* What a daemon that was killed has left there. */
	close(open(socket_path, O_WRONLY | O_CREAT, 0600));
	CHECK_EQ(control_open(&server.control, socket_path, answer, &server, &why), 0);
	CHECK_EQ(pthread_create(&server.thread, NULL, serve, &server), 0);
	test_questions();
	test_hostile_peers(&server);
	test_later(&server);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(folder))
		return 1;
	registry_folder = folder;
	test_names();
	test_reports();
	test_register();
	test_folder();
	test_waiting();
	test_crowd();
	test_control();
	return check_end();
}
