# SPDX-License-Identifier: MIT
"""stops.py COMMAND...: run it, and say "stopped" if it is ever stopped; exit as a shell would."""

import os
import sys

child = os.fork()
if not child:
    os.execvp(sys.argv[1], sys.argv[1:])
status = os.waitpid(child, os.WUNTRACED)[1]
if os.WIFSTOPPED(status):
    os.write(1, b"stopped\n")
    os.kill(child, 9)
sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
