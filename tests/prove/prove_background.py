#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Agents whose harness kills every call after some seconds get the output and the status of every command, once.

    prove_background.py [--minutes 5] [--agents 8] [--limit 3] [--longest 20]

Each agent is a shell loop: it calls a command with --within, is killed by SIGKILL, calls --follow until it gets a
status, and takes the next command. At the end: every command has run once, alone, in the order of the runs' numbers;
what the calls of one command have printed, put together, is its output, and the last status its status. Nothing is left
running.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
AGENT = r"""
agent=$1 limit=$2 longest=$3 end=$(($(date +%s) + $4)) n=0 RANDOM=$5
while [ "$(date +%s)" -lt $end ]; do
  n=$((n + 1)) seconds=$((1 + RANDOM % longest)) wanted=$((RANDOM % 7))
  calls=1
  exec >>"out/$agent-$n" 2>>"err/$agent-$n"
  timeout -s KILL "$limit" ./seqexec.py --within 1000 ./command "$agent-$n" $seconds $wanted
  status=$?
  while [ $status = 137 ] || [ $status = 75 ]; do
    calls=$((calls + 1))
    timeout -s KILL "$limit" ./seqexec.py --follow
    status=$?
  done
  echo "$agent-$n $seconds $wanted $status $calls" >>results
done
"""
COMMAND = r"""#!/bin/bash
mkdir running || echo "$1 is not alone" >>trouble
echo "$1" >>started
for k in $(seq $(($2 * 4))); do echo "$1 says $k"; echo "$1 warns $k" >&2; sleep 0.25; done
rmdir running
exit $3
"""


def prepare(directory: Path) -> dict[str, str]:
    """Make a scratch project in a directory; return the environment for its agents."""
    for name in ("objects", "refs"):
        (directory / ".git" / name).mkdir(parents=True)
    (directory / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    for name in ("seqexec.py", "memmon.py"):
        shutil.copy(str(ROOT / name), str(directory / name))
    (directory / "command").write_text(COMMAND)
    (directory / "command").chmod(0o755)
    for name in ("out", "err"):
        (directory / name).mkdir()
    environment = dict(os.environ, SEQEXEC_DIR=str(directory / "state"))
    for name in ("SEQEXEC_RUN", "SEQEXEC_LABEL", "MAKEFLAGS", "MAKELEVEL", "SEQEXEC_WAIT"):
        environment.pop(name, None)
    return environment


def run_agents(directory: Path, environment: dict[str, str], options: argparse.Namespace) -> None:
    """Run the agents to their ends. Every other one has a label, the rest is known by its ancestors."""
    agents = []
    for number in range(options.agents):
        words = [number, options.limit, options.longest, int(options.minutes * 60), random.randrange(30000)]
        label = {"SEQEXEC_LABEL": "agent-%d" % number} if number % 2 else {}
        line = ["/bin/bash", "-c", AGENT, "agent", *map(str, words)]
        agents.append(subprocess.Popen(line, cwd=directory, env={**environment, **label}, start_new_session=True))
    for agent in agents:
        agent.wait()


def find_faults(directory: Path, environment: dict[str, str]) -> list[str]:
    """Return what is wrong."""
    faults = (directory / "trouble").read_text().splitlines() if (directory / "trouble").exists() else []
    results = [line.split() for line in (directory / "results").read_text().splitlines()]
    started = (directory / "started").read_text().split()
    for name, seconds, wanted, status, _ in results:
        if status != wanted:
            faults.append("%s ended with %s and not with %s" % (name, status, wanted))
        if started.count(name) != 1:
            faults.append("%s has run %d times" % (name, started.count(name)))
        for kind, verb in ("out", "says"), ("err", "warns"):
            lines = (directory / kind / name).read_text().splitlines()
            lines = [line for line in lines if not line.startswith(("seqexec: ", "agent: line "))]
            if lines != ["%s %s %d" % (name, verb, k + 1) for k in range(int(seconds) * 4)]:
                faults.append("%s: std%s is not what it has printed: %s" % (name, kind, lines[:200]))
    tool = [str(directory / "seqexec.py")]
    history = json.loads(subprocess.check_output([*tool, "--history", "--json"], cwd=directory, env=environment))
    numbers = [run["run"] for run in history]
    if numbers != sorted(numbers) or len(numbers) != len(results):
        faults.append("the runs were in the order %s" % numbers)
    if subprocess.call([*tool, "--drain", "1"], cwd=directory, env=environment):
        faults.append("something still runs")
    time.sleep(1)
    left = [pid for pid in os.listdir("/proc") if pid.isdigit() and belongs_to(pid, directory)]
    faults += ["PID %s is left" % pid for pid in left]
    return faults


def belongs_to(pid: str, directory: Path) -> bool:
    """Tell whether a process was started by the agents."""
    try:
        environment = Path("/proc/%s/environ" % pid).read_bytes().split(b"\0")
    except OSError:
        return False
    return b"SEQEXEC_DIR=" + os.fsencode(directory / "state") in environment


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--limit", type=float, default=3.0, help="seconds after which a call is killed")
    parser.add_argument("--longest", type=int, default=20, help="seconds of the longest command")
    options = parser.parse_args()
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="agents-")))
    try:
        environment = prepare(directory)
        run_agents(directory, environment, options)
        faults = find_faults(directory, environment)
        results = [line.split() for line in (directory / "results").read_text().splitlines()]
        calls = sum(int(line[4]) for line in results)
        print("%d commands of %d agents by %d calls" % (len(results), options.agents, calls), end="; ")
        print("\n".join(["every one once, in order, with its whole output and status"] if not faults else faults))
        return bool(faults)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
