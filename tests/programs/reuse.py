# SPDX-License-Identifier: MIT
"""reuse.py WORK NEXT (both JSON lists), inside a PID namespace of its own: start WORK, kill it and its
command, have two bystanders take just those PIDs, run NEXT, and print what happened."""

import json
import os
import signal
import subprocess
import sys
import time


def fork_as(pid):
    """Start a sleeper whose PID is `pid`; return the PID that it got. It takes no other PID."""
    with open("/proc/sys/kernel/ns_last_pid", "w") as stream:
        stream.write(str(pid - 1))
    got = os.fork()
    if not got:
        null = os.open(os.devnull, os.O_RDWR)
        reader, writer = os.pipe()
        for descriptor, target in (reader, 0), (null, 1), (null, 2):
            os.dup2(descriptor, target)
        os.set_inheritable(writer, True)  # so that there is no end of what it reads
        os.execv("/bin/sh", ["/bin/bash", "-c", "read line"])
    return got


def lives(pid):
    with open("/proc/%d/stat" % pid) as stream:
        return stream.read().rpartition(") ")[2][0] != "Z"


def reap():
    """Reap what has died: the init of a namespace gets all orphans."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


work = subprocess.Popen(json.loads(sys.argv[1]), stdout=subprocess.PIPE)
command = int(work.stdout.readline())
# Start times are counted in ticks of 10 ms, by ps in seconds: within one of them the two could not be told apart.
time.sleep(1.2 if os.environ.get("SEQEXEC_PROC") == "ps" else 0.05)
work.kill()
os.kill(command, signal.SIGKILL)
work.wait()
while os.path.exists("/proc/%d" % command):
    reap()
try:
    bystanders = [fork_as(command), fork_as(work.pid)]
except OSError as error:
    sys.stderr.write("cannot choose a PID here: %s\n" % error)
    sys.exit(77)
status = subprocess.call(json.loads(sys.argv[2]))
print(
    json.dumps(
        {
            "reused": bystanders == [command, work.pid],
            "status": status,
            "bystanders": [lives(each) for each in bystanders],
        }
    )
)
