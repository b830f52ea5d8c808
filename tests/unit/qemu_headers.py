#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Our header decoder and qemu-img agree: on what images are, and on which to refuse.

usage: qemu_headers.py DECODE_HEADER
"""

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

DECODE = os.path.abspath(sys.argv[1])
failures = 0
cases = 0


def check(name, got, want):
    global failures
    if got != want:
        failures += 1
        print(f'# {name}: ours {got!r}, qemu-img {want!r}')


def case(name, before):
    global cases
    cases += 1
    print(f'{"ok" if failures == before else "not ok"} {cases} - {name}')


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def create(path, size, *options):
    made = run('qemu-img', 'create', '-q', '-f', 'qcow2', *options, path, size)
    if made.returncode:
        sys.exit('qemu-img create: ' + made.stderr)


def ours(path):
    done = run(DECODE, path)
    if done.returncode not in (0, 1):
        sys.exit(f'{DECODE}: exit status {done.returncode}\n{done.stderr}')
    return (json.loads(done.stdout) if done.returncode == 0 else None), done.stderr


def theirs(path):
    done = run('qemu-img', 'info', '-U', '-f', 'qcow2', '--output=json', path)
    return (json.loads(done.stdout) if done.returncode == 0 else None), done.stderr


def name(header, key):
    return bytes.fromhex(header[key]).decode() or None


def compare(title, path):
    """All that qemu-img tells about a header it accepts."""
    before = failures
    header, sentence = ours(path)
    info, _ = theirs(path)
    if header is None:
        check(title, sentence, 'accepted')
        return case(title, before)
    data = info['format-specific']['data']
    incompatible = header['incompatible']
    check(title + ': version', {2: '0.10', 3: '1.1'}[header['version']], data['compat'])
    check(title + ': cluster size', header['cluster_bytes'], info['cluster-size'])
    check(title + ': size', header['size_bytes'], info['virtual-size'])
    check(title + ': refcounts', header['refcount_bits'], data['refcount-bits'])
    check(title + ': backing file', name(header, 'backing_name'), info.get('backing-filename'))
    check(title + ': backing format', name(header, 'backing_format'),
          info.get('backing-filename-format'))
    check(title + ': snapshots', header['snapshots'], len(info.get('snapshots', [])))
    check(title + ': dirty', bool(incompatible & 1), info['dirty-flag'])
    if header['version'] == 3:
        check(title + ': lazy', bool(header['compatible'] & 1), data['lazy-refcounts'])
        check(title + ': corrupt', bool(incompatible & 2), data['corrupt'])
        check(title + ': extended', bool(incompatible & 16), data['extended-l2'])
        check(title + ': data file', name(header, 'data_file_name'), data.get('data-file'))
        check(title + ': raw', bool(header['autoclear'] & 2), data.get('data-file-raw', False))
    check(title + ': compression', ['zlib', 'zstd'][header['compression_type']],
          data['compression-type'])
    check(title + ': bitmaps', header['bitmaps'] != '', 'bitmaps' in data)
    case(title, before)


def created_images():
    for bits in range(9, 22):
        size = str(1 << bits)
        yield f'clusters of {size}', ['-o', f'cluster_size={size}'], '64M'
        yield (f'version 2, clusters of {size}', ['-o', f'cluster_size={size},compat=0.10'],
               '100000000')
    for width in (1, 2, 4, 8, 16, 32, 64):
        for size in (512, 65536):
            yield (f'refcounts of {width}, clusters of {size}',
                   ['-o', f'cluster_size={size},refcount_bits={width}'], '1M')
    for size in ('16k', '64k', '2M'):
        yield f'extended, clusters of {size}', ['-o', f'extended_l2=on,cluster_size={size}'], '1G'
    yield 'zstd', ['-o', 'compression_type=zstd'], '1G'
    yield 'lazy', ['-o', 'lazy_refcounts=on'], '1G'
    yield 'size 0', [], '0'
    yield '2 PiB', [], '2048T'
    yield 'preallocated', ['-o', 'preallocation=metadata'], '8M'
    yield 'backing file', ['-b', 'base', '-F', 'qcow2'], '1G'
    yield 'backing file, version 2', ['-b', 'base', '-F', 'qcow2', '-o', 'compat=0.10'], '1G'
    yield 'backing file, clusters of 512', ['-b', 'base', '-F', 'raw', '-u', '-o',
                                            'cluster_size=512'], '1G'
    yield 'data file', ['-o', 'data_file=data'], '1G'
    yield 'raw data file', ['-o', 'data_file=data,data_file_raw=on'], '1G'


def test_created():
    create('base', '1G')
    for title, options, size in created_images():
        create('image', size, *options)
        compare(title, 'image')
    create('image', '1M')
    run('qemu-img', 'bitmap', '--add', 'image', 'b')
    compare('bitmap', 'image')
    run('qemu-img', 'snapshot', '-c', 's', 'image')
    compare('bitmap and snapshot', 'image')


# Offset, width, name of each field of the header.
FIELDS = [
    (4, 4, 'version'), (8, 8, 'backing offset'), (16, 4, 'backing length'),
    (20, 4, 'cluster bits'), (24, 8, 'size'), (32, 4, 'encryption'), (36, 4, 'L1 entries'),
    (40, 8, 'L1'), (48, 8, 'refcount table'), (56, 4, 'refcount table clusters'),
    (60, 4, 'snapshots'), (64, 8, 'snapshot table'), (72, 8, 'incompatible'),
    (80, 8, 'compatible'), (88, 8, 'autoclear'), (96, 4, 'refcount order'),
    (100, 4, 'header length'), (104, 1, 'compression type'), (112, 4, 'extension'),
    (116, 4, 'extension length'), (120, 4, 'extension data'), (136, 8, 'extension data 2'),
]
EXTENSIONS = [0, 0xe2792aca, 0x6803f857, 0x23852875, 0x0537be77, 0x44415441, 0x12345678]
INTERESTING = [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 21, 22, 24, 72, 103, 104, 105, 112, 120, 128, 129,
               511, 512, 1023, 1024, 4096, 65535, 65536, 65537, 0x20001, 0x30000, 0x30200,
               4 << 20, (4 << 20) + 1, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1 << 55,
               1 << 56, 0x7fffffffffff0000, 1 << 63, 0xffffffffffff0000, (1 << 64) - 1]


def raw_without_data_file(image):
    """qemu-img info does not look at this; what really opens the image does."""
    incompatible, _, autoclear = struct.unpack('>QQQ', image[72:96])
    return image[7] == 3 and autoclear & 2 and not incompatible & 4


def opens(path):
    return run('qemu-io', '-r', '-U', '-f', 'qcow2', '-c', 'quit', path).returncode == 0


def stricter(image):
    """We refuse what QEMU opens, on purpose: a table in place of the header."""
    l1_entries, l1, refcounts = struct.unpack('>IQQ', image[36:56])
    return refcounts == 0 or (l1 == 0 and l1_entries != 0)


def different_question(image):
    """Refused by qemu-img for what no header decoder can know: the tables themselves."""
    l1, = struct.unpack('>Q', image[40:48])
    snapshots, = struct.unpack('>I', image[60:64])
    return snapshots != 0 or l1 == 0x7fffffffffff0000


def test_poked(rounds, seed):
    """Both accept or both refuse a header with one to three fields changed."""
    chance = random.Random(seed)
    create('image', '64M')
    with open('image', 'rb') as file:
        good = file.read()
    refused = 0
    before = failures
    for _ in range(rounds):
        image = bytearray(good)
        pokes = []
        for at, width, field in chance.sample(FIELDS, chance.choice([1, 1, 1, 2, 3])):
            values = EXTENSIONS if field == 'extension' else INTERESTING
            value = chance.choice(values) & ((1 << 8 * width) - 1)
            image[at:at + width] = value.to_bytes(width, 'big')
            pokes.append(f'{field} {value:#x}')
        if different_question(image) or image[4:8] in (b'\0\0\0\0', b'\0\0\0\1'):
            continue
        with open('poked', 'wb') as file:
            file.write(image)
        we, our_sentence = ours('poked')
        they, their_sentence = theirs('poked')
        if they is not None and raw_without_data_file(image) and not opens('poked'):
            they = None
        refused += they is None
        if we is None and they is not None and stricter(image):
            continue
        check(', '.join(pokes), our_sentence.strip() or 'accepted',
              our_sentence.strip() or 'accepted' if (we is None) == (they is None)
              else their_sentence.strip() or 'accepted')
    case(f'{rounds} poked headers, {refused} refused, seed {seed}', before)


def main():
    if not (shutil.which('qemu-img') and shutil.which('qemu-io')):
        print('1..0 # SKIP qemu-img or qemu-io is missing')
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        test_created()
        test_poked(int(os.environ.get('ROUNDS', '150')), int(os.environ.get('SEED', '1')))
        os.chdir('/')
    print(f'1..{cases}')
    return failures != 0


if __name__ == '__main__':
    sys.exit(main())
