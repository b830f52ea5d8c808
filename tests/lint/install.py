#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is installed is what the manual page lists, and all of it goes again; a release has all files.

usage: install.py BUILD_FOLDER
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import tree

PAGE = 'man/qcow2-ublkd.8'
LISTED = re.compile(r'^What is installed.*?^\.Bl[^\n]*\n(.*?)^\.El', re.S | re.M)

report = tree.Report()


def listed():
    found = LISTED.search(tree.read(PAGE))
    return set(re.findall(r'^\.It Pa (\S+)$', found[1], re.M)) if found else set()


def files_below(top):
    return {os.path.relpath(os.path.join(folder, name), top)
            for folder, _, names in os.walk(top) for name in names}


def run(*command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        report(command[0], 0, f'{" ".join(command)}: status {done.returncode}: {done.stdout}')
    return not done.returncode


def prefix_of(build):
    with open(os.path.join(build, 'meson-info', 'intro-buildoptions.json'), encoding='utf-8') as info:
        return next(option['value'] for option in json.load(info) if option['name'] == 'prefix')


def check_install(build, scratch):
    if not run('meson', 'install', '-C', build, '--no-rebuild', '--destdir', scratch):
        return
    installed = files_below(scratch + prefix_of(build))
    page = listed()
    for path in sorted(installed - page):
        report(PAGE, 0, f'{path} is installed, but not listed')
    for path in sorted(page - installed):
        report(PAGE, 0, f'{path} is listed, but not installed')
    if run('ninja', '-C', build, 'uninstall'):
        for path in sorted(files_below(scratch)):
            report(path, 0, 'is left by ninja uninstall')


def git(*command):
    return subprocess.run(('git', '-C', tree.ROOT) + command, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)


def check_dist(build, scratch):
    """Only where there is a repository; what is not committed yet is no part of it."""
    known = git('ls-tree', '-r', '--name-only', 'HEAD')
    if known.returncode:
        return
    if not run('meson', 'dist', '-C', build, '--no-tests', '--allow-dirty', '--formats', 'gztar'):
        return
    folder = os.path.join(build, 'meson-dist')
    for name in os.listdir(folder):
        if name.endswith('.tar.gz'):
            with tarfile.open(os.path.join(folder, name)) as archive:
                packed = {member.name.partition('/')[2] for member in archive if member.isfile()}
    for path in sorted(set(known.stdout.split('\n')) - {''} ^ packed):
        report(path, 0, 'is only in one of the repository and a release of it')


def main():
    build = sys.argv[1]
    log = os.path.join(build, 'meson-logs', 'install-log.txt')
    with tempfile.TemporaryDirectory() as scratch:
        # Whoever has installed from here may want to uninstall.
        kept = os.path.join(scratch, 'log')
        if os.path.exists(log):
            shutil.copy(log, kept)
        check_install(build, os.path.join(scratch, 'install'))
        if os.path.exists(kept):
            shutil.copy(kept, log)
        elif os.path.exists(log):
            os.remove(log)
        check_dist(build, scratch)
    return report.done()


sys.exit(main())
