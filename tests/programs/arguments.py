# SPDX-License-Identifier: MIT
"""arguments.py ARG...: print each argument as it is, with a NUL after it."""

import os
import sys

sys.stdout.buffer.write(b"".join(os.fsencode(each) + b"\0" for each in sys.argv[1:]))
