# SPDX-License-Identifier: GPL-2.0-or-later
"""Other programs, as all scripts here run them."""
import subprocess

# How long a key is to take, qemu-img measures in the host's ticks, and gives up when it got none.
NO_TICKS = "Unable to get accurate CPU usage"
TRIES = 20


def run(command, **how):
    """Both outputs in one; what the command makes of it is for the caller to judge."""
    for _ in range(TRIES):
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False, errors="replace", **how)
        if NO_TICKS not in result.stdout:
            break
    return result
