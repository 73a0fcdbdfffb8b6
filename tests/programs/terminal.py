# SPDX-License-Identifier: MIT
"""terminal.py: tell what the terminal looks like from here."""

import os
import sys

on_terminal = [os.isatty(descriptor) for descriptor in range(3)]
foreground = os.tcgetpgrp(0) == os.getpgrp()
size = os.get_terminal_size(0)
with open("/dev/tty", "w") as controlling:
    controlling.write(
        "terminal %s foreground %s size %dx%d\n" % (on_terminal, foreground, size.lines, size.columns)
    )
sys.stdout.write("line: " + sys.stdin.readline())
