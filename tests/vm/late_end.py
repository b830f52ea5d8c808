#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Run a daemon (ARGV), and stop (SIGSTOP) its control process when that has answered all that comes
before END_USER_RECOVERY: when the thread of the first, and only, queue is there.  When the daemon has
ended, or serves all the same, print the process id of the control process.
"""

import os
import select
import signal
import subprocess
import sys


def read(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def has_thread(pid, name):
    return any(read(f"/proc/{pid}/task/{task}/comm").strip() == name
               for task in os.listdir(f"/proc/{pid}/task"))


def controller_of(pid):
    for child in read(f"/proc/{pid}/task/{pid}/children").split():
        if read(f"/proc/{child}/comm").strip() == "ublk-control":
            return int(child)
    return None


def main():
    with subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE) as daemon:
        controller = None
        while daemon.poll() is None and not (controller and has_thread(daemon.pid, "queue-0")):
            controller = controller or controller_of(daemon.pid)
        if not controller or daemon.poll() is not None:
            sys.exit("it has ended too soon")
        os.kill(controller, signal.SIGSTOP)
        # The control process has the other end of the pipe, too.
        while daemon.poll() is None and not select.select([daemon.stdout], [], [], 0.2)[0]:
            pass
        daemon.kill()
        print(controller)


main()
