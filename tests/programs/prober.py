# SPDX-License-Identifier: MIT
"""prober.py SCOPE [FILE]: probe the flock of every owner file in a scope, over and over, as all the tools do.

Ends when its stdin is closed: status 0, or 1 if FILE was ever found without its flock. "ready" is printed first.
"""

import fcntl
import os
import select
import sys
import time

SCOPE, FILE = sys.argv[1], (sys.argv[2:3] or [""])[0]


def probe(path):
    """Tell whether a file is there and not locked; keep the probe's own lock for an instant."""
    try:
        with open(path, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            time.sleep(0.0003)
            return True
    except OSError:
        return False


print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    if FILE and probe(FILE):
        sys.exit(1)
    for place, _, names in os.walk(SCOPE):
        for name in names:
            if name.startswith("1."):
                probe(os.path.join(place, name))
