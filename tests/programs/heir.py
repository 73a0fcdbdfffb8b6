# SPDX-License-Identifier: MIT
"""heir.py WHO MEMMON HOG... (HOG: a command, without its --cap), inside a PID namespace of its own.

Have MEMMON watch a shell with two children, at a limit of 100 MB; end WHO, the `root` or a `member`; give its PID to a
stranger, whose child takes 150 MB; then have the other child take them. Print whether the PID was given, and
memmon's last line, and whether the stranger's child lives.
"""

import os
import shlex
import subprocess
import sys
import tempfile

who, memmon, *hog = sys.argv[1:]


def fork_as(pid, argv):
    """Start a command whose PID is `pid`, if no other process is quicker; return the PID it got, and its stdout."""
    reader, writer = os.pipe()
    with open("/proc/sys/kernel/ns_last_pid", "w") as stream:
        stream.write(str(pid - 1))
    got = os.fork()
    if not got:
        os.dup2(writer, 1)
        os.execv(argv[0], argv)
    os.close(writer)
    return got, os.fdopen(reader)


def read_until(stream, word):
    """Return the first line with a word in it."""
    return next((line for line in stream if word in line), "")


def run(*options):
    return " ".join(map(shlex.quote, [*hog, *options]))


with tempfile.TemporaryDirectory() as place:
    os.mkfifo(place + "/go")
    line = "%s >/dev/null & first=$!; %s <%s/go >/dev/null & echo $first; read line; " % (
        run("--cap", "60"),
        run("--cap", "150", "--wait"),
        place,
    )
    line += "kill $first; wait $first; echo; read line" if who == "member" else "exit 0"
    pipe = subprocess.PIPE
    root = subprocess.Popen(["/bin/sh", "-c", line], stdin=pipe, stdout=pipe, universal_newlines=True)
    go = open(place + "/go", "w")
    member = int(root.stdout.readline())
    words = [memmon, "--pid", str(root.pid), "--limit", "100", "--interval", "600"]
    guard = subprocess.Popen(words, stderr=pipe, universal_newlines=True)
    read_until(guard.stderr, "holds")  # the member is known
    root.stdin.write("\n")
    root.stdin.flush()
    if who == "member":
        root.stdout.readline()
    else:
        read_until(guard.stderr, "still watching")
        root.wait()
    free = {"root": root.pid, "member": member}[who]
    stranger, output = fork_as(free, ["/bin/sh", "-c", run("--cap", "150") + "; true"])
    if stranger == free:
        read_until(output, "waiting")
    go.write("\n")
    go.close()
    told = read_until(guard.stderr, "ended ")
    guard.terminate()
    print("%s\n%s%s" % (stranger == free, told, os.waitpid(stranger, os.WNOHANG)), flush=True)
