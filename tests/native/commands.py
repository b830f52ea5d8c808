#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands check and info: what they open, how they end, what memory they need, and how much they read.

commands.py --qio PATH --program PATH [--library PATH]
"""
import json
import os
import pty
import re
import struct
import subprocess

import cases
from cases import CLUSTER, Failure, Watch

def ends(case, status, *command):
    """Ours; what it prints."""
    result = case.run(case.program, *command)
    if result.returncode != status:
        raise Failure(f"{' '.join(command)}: status {result.returncode}, not {status}: "
                      f"{result.stdout}")
    return result.stdout


def only_the_image(case):
    """Whatever names the image has in it, no other file is opened (CVE-2024-4467)."""
    case.raw("base", 1 << 20)
    case.raw("secret", 4096)
    case.create("over", "base", "raw")
    case.create("apart", options=f"data_file={case.path('data')}", size="4M")
    names = {"driver": "raw", "file": {"driver": "file", "filename": case.path("secret")}}
    case.create("json", "json:" + json.dumps(names), "raw")
    watch = Watch(case.path("base"), case.path("secret"), case.path("data"))
    for image in ("over", "apart", "json"):
        for command in (["info"], ["info", "--json"], ["check"], ["check", "--json"],
                        ["check", "--repair", "all"]):
            ends(case, 0, *command, case.path(image))
    if watch.saw():
        raise Failure("another file than the image was opened")
    # The watch does see it when somebody does.
    case.serves("over", "--read-only", "-c", "read 0 512")
    if not watch.saw():
        raise Failure("the watch sees nothing")


def exit_statuses(case):
    """Those of qemu-img check."""
    case.create("clean")
    case.qemu_io("clean", "write -q -P 1 0 256k")
    case.copy("clean", "leaks")
    case.poke("leaks", 2 * CLUSTER + 2 * 9, b"\0\1")
    case.poke("leaks", 10 * CLUSTER - 1, b"\1")
    case.copy("clean", "corrupt")
    at, entry = case.entry("corrupt", 0)
    case.poke("corrupt", at, struct.pack(">Q", entry & ~cases.COPIED))
    case.copy("clean", "worse")
    case.poke("worse", 2 * CLUSTER + 2 * 5, b"\0\0")
    case.raw("noise", 1 << 20)
    for image, status in (("clean", 0), ("leaks", 3), ("corrupt", 2), ("worse", 2), ("noise", 1),
                          ("gone", 1)):
        ends(case, status, "check", case.path(image))
        theirs = case.run("qemu-img", "check", "-f", "qcow2", case.path(image)).returncode
        if theirs != status:
            raise Failure(f"{image}: qemu-img check ends with {theirs}")
    ends(case, 1, "check")
    ends(case, 1, "check", "--repair", "some", case.path("clean"))
    ends(case, 1, "info", case.path("noise"))
    ends(case, 2, "info")
    for image in ("leaks", "corrupt", "worse"):
        ends(case, 0, "check", "--repair", "all", case.path(image))
        case.tool("qemu-img", "check", "-q", image)


def memory_of(case, image):
    """The most that a repair of it has needed, in bytes."""
    with subprocess.Popen([case.program, "check", "--repair", "all", case.path(image)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failure(f"repair of {image}: status {process.returncode}")
    return usage.ru_maxrss << 10


def little_memory(case):
    """A dirty image is repaired in memory of the order of its tables, whatever is in the disk."""
    used = {}
    for size in ("64M", "64G"):
        case.create(size, size=size, options="lazy_refcounts=on,preallocation=metadata")
        case.poke(size, 79, b"\1")
        case.poke(size, 2 * CLUSTER, bytes(CLUSTER))
        used[size] = memory_of(case, size)
        if case.incompatible(size) & 1:
            raise Failure("it is still marked dirty")
        case.tool("qemu-img", "check", "-q", size)
    tables = (64 << 30) // CLUSTER * (8 + 2)
    if used["64G"] - used["64M"] > 2 * tables:
        raise Failure(f"{used} bytes were needed for tables of {tables} bytes")


def with_snapshots(case, name, l1_tables):
    """An image of 4 KiB clusters whose snapshots have these L1 tables, (clusters from L1_AT on, entries);
    all entries lead to one L2 table."""
    case.create(name, size="4M", options="cluster_size=4k")
    case.qemu_io(name, "write -q -P 1 0 4k")
    l2 = case.word(name, case.word(name, 40)) & cases.HOST
    table = b"".join(struct.pack(">QIHHIIQIIQQ", L1_AT + 4096 * first, entries, 0, 0, 0, 0, 0, 0, 16,
                                 0, 4 << 20)
                     for first, entries in l1_tables)
    case.poke(name, SNAPSHOTS_AT, table)
    case.poke(name, 60, struct.pack(">IQ", len(l1_tables), SNAPSHOTS_AT))
    end = max(4096 * first + 8 * entries for first, entries in l1_tables)
    case.poke(name, L1_AT, struct.pack(">Q", l2) * (end // 8))


SNAPSHOTS_AT, L1_AT = 1 << 20, 8 << 20


def shared_tables(case):
    """Tables that lie in each other count as often as QEMU counts them, and take no longer than one."""
    with_snapshots(case, "few", [(0, 3), (0, 600), (1, 512), (0, 1024), (5, 1), (1, 513), (0, 3)])
    results = [json.loads(subprocess.run(command + [case.path("few")], stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, check=False).stdout)
               for command in ([case.program, "check", "--json"],
                               ["qemu-img", "check", "--output=json"])]
    for key in ("corruptions", "leaks", "check-errors", "image-end-offset"):
        if results[0].get(key, 0) != results[1].get(key, 0):
            raise Failure(f"{key}: {results[0].get(key)}, and to QEMU {results[1].get(key)}")
    with_snapshots(case, "many", [(0, 1 << 19)] * 65535)
    ends(case, 2, "check", case.path("many"))
    # A refcount block that each entry of the refcount table names.
    entries, at = 1 << 17, 1 << 20
    case.create("block", size="1M", options="cluster_size=512,refcount_bits=1")
    block = case.word("block", case.word("block", 48))
    case.poke("block", block, b"\xff" * 512)
    case.poke("block", at, struct.pack(">Q", block) * entries)
    case.poke("block", 48, struct.pack(">QI", at, entries * 8 // 512))
    os.truncate(case.path("block"), entries * 4096 * 512)
    done = subprocess.run([case.program, "check", case.path("block")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False, timeout=60)
    if done.returncode != 2:
        raise Failure(f"a block with many names: status {done.returncode}")
    # An L2 table in each sector of a file.
    case.create("sectors", size="8P", options="cluster_size=2M")
    l1, at = case.word("sectors", 40), 64 << 20
    case.poke("sectors", at, struct.pack(">Q", 1) * (1 << 19))
    case.poke("sectors", l1, b"".join(struct.pack(">Q", at + 512 * i) for i in range(4096)))
    ends(case, 1, "check", case.path("sectors"))


def read_by(*command):
    """How it ends, what it says, and how many bytes it has read, from holes as well."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as process:
        output = process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with open(f"/proc/{process.pid}/io", encoding="ascii") as file:
            count = int(re.search(r"rchar: (\d+)", file.read())[1])
    return process.returncode, output, count


def empty_tables(case):
    """L2 tables at each sector of a hole are as many as those with something in them; behind the end of the
    file they are not even looked at."""
    entries, most = 1 << 14, 4 << 30
    for name, first in (("hole", 64 << 20), ("behind", 1 << 40)):
        case.create(name, size="8P", options="cluster_size=2M")
        l1 = case.word(name, 40)
        os.truncate(case.path(name), 128 << 20)
        case.poke(name, l1, b"".join(struct.pack(">Q", first + 512 * i) for i in range(entries)))
        case.poke(name, 79, b"\1")
        before = case.bytes(name)
        for command in ([case.program, "check", case.path(name)],
                        [case.qio, case.path(name), "-c", "flush"]):
            status, output, count = read_by(*command)
            if status != (2 if name == "behind" and "check" in command else 1):
                raise Failure(f"{name}: {command}: status {status}: {output[-1000:]}")
            if name == "hole" and "too many L2 tables" not in output:
                raise Failure(f"{command}: {output[-1000:]}")
            if count > most:
                raise Failure(f"{name}: {command} has read {count >> 20} MiB")
        if case.bytes(name) != before:
            raise Failure(f"{name}: it was written to")
    # As many as there can be: this takes a quarter of an hour if each of them is made of zeros first.
    case.create("most", size="8P", options="cluster_size=2M")
    case.poke("most", 36, struct.pack(">IQ", 1 << 22, 64 << 20))
    case.poke("most", 64 << 20, b"".join(struct.pack(">Q", (1 << 40) + 512 * i)
                                         for i in range(1 << 22)))
    subprocess.run([case.program, "check", case.path("most")], stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False, timeout=60)


def unknown_image(case):
    """Who cannot tell which image it is cannot tell either whether a killed process's writes wait for it."""
    case.create("image")
    case.poke("image", 79, b"\1")
    before = case.bytes("image")
    script = 'mount --bind /dev/null /proc/sys/kernel/random/boot_id && exec "$@"'
    unshared = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "-"]
    if case.run(*unshared, "true").returncode:
        print("# a file in /proc cannot be hidden here")
        return
    for repair in ("leaks", "all"):
        result = case.run(*unshared, case.program, "check", "--repair", repair,
                          case.path("image"))
        if result.returncode != 1 or "nobody can tell" not in result.stdout:
            raise Failure(f"status {result.returncode}: {result.stdout}")
        if case.bytes("image") != before:
            raise Failure("it was written to")
    result = case.run(*unshared, case.program, "check", case.path("image"))
    if result.returncode:
        raise Failure(f"check: status {result.returncode}: {result.stdout}")


def on_terminal(case, *command, fast=True):
    """What it writes to a terminal that is its standard error."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **({"LD_PRELOAD": case.library} if fast else {})}
    with subprocess.Popen([case.program, *command], stdout=subprocess.DEVNULL, stderr=theirs,
                          env=environment) as process:
        os.close(theirs)
        output = b""
        while True:
            try:
                output += os.read(ours, 4096)
            except OSError:  # the end of a terminal
                break
        process.wait(cases.ENGINE_TIMEOUT_S)
    os.close(ours)
    if process.returncode not in (0, 2):
        raise Failure(f"{command}: status {process.returncode}: {output}")
    return output.decode()


def screen(output):
    """The lines that somebody sees in the end."""
    lines = []
    for line in output.replace("\r\n", "\n").split("\n"):
        seen = ""
        for text in line.split("\r"):
            seen = text + seen[len(text):]
        lines.append(seen.rstrip())
    return lines


def progress(case):
    """Long checks say how far they are, on a terminal only, and leave nothing behind."""
    if not case.library:
        return
    case.create("image", size="2M", options="cluster_size=512")
    case.qemu_io("image", "write -q -P 1 0 2M")
    case.copy("image", "damaged")
    for cluster in range(0, 4000, 100):
        table = case.word("damaged", case.word("damaged", 40) + cluster // 64 * 8) & cases.HOST
        at = table + cluster % 64 * 8
        case.poke("damaged", at, struct.pack(">Q", case.word("damaged", at) & ~cases.COPIED))
    for command in (["check"], ["check", "--repair", "all"]):
        for image in ("image", "damaged"):
            case.copy(image, "copy")
            output = on_terminal(case, *command, case.path("copy"))
            told = [int(text) for text in re.findall(r"\rchecked +(\d+) %", output)]
            if len(told) < 100 or told[0] > 10 or max(told) < 95 or max(told) > 100:
                raise Failure(f"{command}: {told}")
            if command == ["check"] and told != sorted(told):
                raise Failure(f"it goes back: {told}")
            lines = screen(output)
            if lines.pop() or any(not re.match("ERROR|Repaired", line) for line in lines):
                raise Failure(f"{command}: this is left on the screen: {lines}")
            if (image == "damaged") != bool(lines):
                raise Failure(f"{command}: {len(lines)} findings")
    for what, output in (
            ("with --json", on_terminal(case, "check", "--json", case.path("image"))),
            ("of a short check", on_terminal(case, "check", case.path("image"), fast=False)),
            ("on no terminal", subprocess.run(
                [case.program, "check", case.path("image")], stderr=subprocess.PIPE, text=True,
                env={**os.environ, "LD_PRELOAD": case.library}, stdout=subprocess.DEVNULL,
                check=True).stderr)):
        if output:
            raise Failure(f"{what} it says: {output}")


cases.main(__doc__.splitlines()[0], [only_the_image, exit_statuses, little_memory, shared_tables,
                                     empty_tables, unknown_image, progress])
