#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Put the files that guest has left in WORK/kernel.* together, as JSON on standard output.

usage: collect.py WORK ROUNDS RUNTIME PIN
"""

import datetime
import glob
import json
import os
import re
import sys

import figures


def line(*path):
    """The only line of a small file; nothing of one that is not there."""
    try:
        with open(os.path.join(*path), encoding='utf-8') as file:
            return file.read().strip()
    except FileNotFoundError:
        return ''


def sample(path):
    number, case, contender = os.path.basename(path).split('.')[:3]
    with open(path, encoding='utf-8') as file:
        job = json.load(file)['jobs'][0]
    read, write = job['read'], job['write']
    iops = read['iops'] + write['iops']
    if job['error'] or not iops:
        raise ValueError(f'{path}: error {job["error"]}, {iops} IOPS')
    # Where both are mixed, the latency of reads; fsyncs are in neither.
    side = read if read['iops'] else write
    mean = side['lat_ns']['mean'] / 1000
    percentile = side['clat_ns'].get('percentile', {})
    latency = figures.CASE[case].unit == figures.MICROSECONDS
    queues = line(path.removesuffix('.json') + '.queues')
    return {
        'case': case,
        'contender': contender,
        'round': int(number),
        'value': round(mean if latency else iops / 1000, 4),
        'read_iops': round(read['iops'], 1),
        'write_iops': round(write['iops'], 1),
        'latency_mean_us': round(mean, 1),
        'latency_p50_us': round(percentile.get('50.000000', 0) / 1000, 1),
        'latency_p99_us': round(percentile.get('99.000000', 0) / 1000, 1),
        'queues': int(queues) if queues else None,
    }


def kernel(folder):
    return {
        'version': line(folder, 'kernel'),
        'cpu': line(folder, 'cpu'),
        'cpus': int(line(folder, 'cpus')),
        'programs': {name: line(folder, name) for name in ('ours', 'qemu-nbd', 'fio')},
        'samples': [sample(path) for path in sorted(glob.glob(os.path.join(folder, '*.json')))],
    }


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    work, rounds, runtime = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        model = re.search(r'^model name\s*: (.*)$', file.read(), re.M)
    folders = [folder for folder in sorted(glob.glob(os.path.join(work, 'kernel.*')))
               if line(folder, 'kernel')]
    json.dump({
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d'),
        'revision': line(work, 'revision'),
        'cpu': model[1] if model else 'unknown',
        'cpus': os.cpu_count(),
        'load_before': line(work, 'load-before'),
        'load_after': line(work, 'load-after'),
        'rounds': rounds,
        'runtime': runtime,
        'pin': sys.argv[4],
        'kernels': [kernel(folder) for folder in folders],
    }, sys.stdout, indent='\t', ensure_ascii=False)
    print()


main()
