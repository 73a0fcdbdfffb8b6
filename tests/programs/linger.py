# SPDX-License-Identifier: MIT
"""linger.py: print one's PID, then do nothing for a minute, with no pipe of others held open."""

import os
import sys
import time

print(os.getpid())
sys.stdout.flush()
null = os.open(os.devnull, os.O_RDWR)
for descriptor in range(3):
    os.dup2(null, descriptor)
time.sleep(60)
