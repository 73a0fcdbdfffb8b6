#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How many agents starve whose waits are killed, with places that are kept and without.

    bench_places.py [--json] [--minutes 5] [--agents 40] [--without]

Each agent has one command after another, which takes 0.2 s. A call that has not begun after 1 to 5 s is killed by
SIGKILL, and the agent calls again after up to 0.5 s. An agent starves when one of its commands has not run after
STARVING seconds, or none has. --without: a copy that keeps no places.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STARVING = 60.0


class Agent(threading.Thread):
    """A harness with a limit, and what it has waited for each of its commands."""

    def __init__(self, number: int, directory: Path, environment: dict[str, str], end: float) -> None:
        super().__init__()
        self.number, self.directory, self.environment, self.end = number, directory, environment, end
        self.waits: list[float] = []
        self.unserved = 0.0  # seconds that the last command had waited at the end

    def run(self) -> None:
        while time.monotonic() < self.end:
            name = "%d-%d" % (self.number, len(self.waits))
            began = time.monotonic()
            while not self.call(name):
                if time.monotonic() >= self.end:
                    self.unserved = time.monotonic() - began
                    return
                time.sleep(random.uniform(0, 0.5))
            self.waits.append(time.monotonic() - began)

    def call(self, name: str) -> bool:
        """Call the command; False where the call was killed before it began."""
        line = ["./seqexec.py", "--quiet", "/bin/sh", "-c", "echo >begun/%s; sleep 0.2" % name]
        process = subprocess.Popen(line, cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL)
        try:
            process.wait(random.uniform(1, 5))
        except subprocess.TimeoutExpired:
            if not (self.directory / "begun" / name).exists():
                process.kill()
            process.wait()
        return (self.directory / "begun" / name).exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--agents", type=int, default=40)
    parser.add_argument("--without", action="store_true")
    options = parser.parse_args()
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="places-")))
    try:
        (directory / "begun").mkdir()
        (directory / ".git").mkdir()
        (directory / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        text = (ROOT / "seqexec.py").read_text(encoding="utf-8")
        if options.without:
            assert text.count("\nKEPT_PLACE = 600.0") == 1
            text = text.replace("\nKEPT_PLACE = 600.0", "\nKEPT_PLACE = 0.0")
        (directory / "seqexec.py").write_text(text, encoding="utf-8")
        (directory / "seqexec.py").chmod(0o755)
        environment = dict(os.environ, SEQEXEC_DIR=str(directory / "state"))
        for name in ("SEQEXEC_RUN", "SEQEXEC_WAIT", "MAKELEVEL"):
            environment.pop(name, None)
        end = time.monotonic() + options.minutes * 60
        agents = [Agent(number, directory, environment, end) for number in range(options.agents)]
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.join()
        subprocess.call(["./seqexec.py", "--drain"], cwd=directory, env=environment)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    waits = [wait for agent in agents for wait in agent.waits]
    starved = [agent for agent in agents if max([*agent.waits, agent.unserved]) >= STARVING or not agent.waits]
    found = {
        "commands": len(waits),
        "median wait, s": round(statistics.median(waits), 1),
        "worst wait, s": round(max([*waits, *(agent.unserved for agent in agents)]), 1),
        "agents that starved": len(starved),
        "most of one agent": max(len(agent.waits) for agent in agents),
        "fewest of one agent": min(len(agent.waits) for agent in agents),
    }
    print("places that are kept: %s" % ("no" if options.without else "yes"))
    for name, value in found.items():
        print(json.dumps({"name": name, "value": value}) if options.json else "  %-22s %8s" % (name, value))


if __name__ == "__main__":
    main()
