#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What each thread of the machine has done in some seconds, and what that is per I/O.

usage: threads.py SECONDS TARGET SERVER     TARGET is a block device or a file (then no I/O counts),
                                            SERVER the process id of the server, or 0
"""

import glob
import os
import sys
import time

TICKS = os.sysconf('SC_CLK_TCK')
COLUMNS = ('user', 'system', 'voluntary', 'involuntary')


def read(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def thread(folder):
    """(name, cpu it was last on, counters as COLUMNS has them)"""
    name, _, stat = read(folder + '/stat').partition('(')[2].rpartition(')')
    stat = stat.split()
    status = dict(row.split(':', 1) for row in read(folder + '/status').splitlines() if ':' in row)
    return name, stat[36], (int(stat[11]) / TICKS, int(stat[12]) / TICKS,
                            int(status['voluntary_ctxt_switches']),
                            int(status['nonvoluntary_ctxt_switches']))


def threads():
    found = {}
    for folder in glob.glob('/proc/[0-9]*/task/[0-9]*'):
        try:
            found[folder] = thread(folder)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def ios(target):
    """Reads and writes that the device has completed."""
    path = f'/sys/block/{os.path.basename(target)}/stat'
    if not os.path.exists(path):
        return 0
    fields = read(path).split()
    return int(fields[0]) + int(fields[4])


def processors():
    """(user, system, interrupts, idle) of all processors, in seconds"""
    fields = [int(field) / TICKS for field in read('/proc/stat').split('\n')[0].split()[1:]]
    return fields[0] + fields[1], fields[2], fields[5] + fields[6], fields[3] + fields[4]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    seconds, target, server = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    before, done, cpu = threads(), ios(target), processors()
    start = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - start
    cpu = [now - was for now, was in zip(processors(), cpu)]
    done = ios(target) - done
    after = threads()

    print(f'# {done / elapsed:.0f} I/Os per second on {target}')
    print('# processors: ' + ', '.join(
        f'{value / elapsed * 100:.0f} % {what}'
        for value, what in zip(cpu, ('user', 'system', 'interrupts', 'idle'))))
    print(f'{"thread":24}  {"last on":>7}  {"user %":>6}  {"system %":>8}'
          f'  {"µs/IO":>6}  {"sleeps/s":>8}  {"preempted/s":>11}  {"IO/sleep":>8}')
    rows = []
    for folder, (name, last, now) in after.items():
        was = before.get(folder, (0, 0, (0, 0, 0, 0)))[2]
        rows.append((folder, name, last, [a - b for a, b in zip(now, was)]))
    for folder, name, last, delta in sorted(rows, key=lambda row: -row[3][0] - row[3][1]):
        busy = delta[0] + delta[1]
        ours = folder.split('/')[2] == server
        if not ours and busy / elapsed < 0.005 and delta[2] / elapsed < 50:
            continue
        per_io = f'{busy / done * 1e6:.1f}' if done else '-'
        per_sleep = f'{done / delta[2]:.1f}' if done and delta[2] else '-'
        print(f'{("server: " if ours else "") + name:24}  {last:>7}  {delta[0] / elapsed * 100:6.1f}'
              f'  {delta[1] / elapsed * 100:8.1f}  {per_io:>6}  {delta[2] / elapsed:8.0f}'
              f'  {delta[3] / elapsed:11.0f}  {per_sleep:>8}')


main()
