# SPDX-License-Identifier: MIT
"""follower.py COMMAND...: run it as su and script do: they stop when it stops, and continue it when they go on."""

import os
import signal
import sys

child = os.fork()
if not child:
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    status = os.waitpid(child, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(status):
        break
    os.kill(os.getpid(), signal.SIGSTOP)
    os.kill(child, signal.SIGCONT)
sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
