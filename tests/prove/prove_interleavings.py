#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Go through every schedule of every scenario of tests/interleave.py, the large ones too, on all processors.

A number as argument: stop a scenario at so many states. A failure prints how to replay it; status 1.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import interleave

LIVE = 300  # random schedules of each scenario, with the code in threads


def prove(task: tuple[interleave.Scenario, int]) -> tuple[str, int, int, bool]:
    scenario, most = task
    code = interleave.load()
    report = interleave.explore(code, scenario, most)
    calls = 0 if report.problem else sum(interleave.run_live(code, scenario, seed) for seed in range(LIVE))
    text = "%s\n  %d random schedules in threads made the same %d calls" % (report, LIVE, calls)
    return text, report.states, report.transitions, bool(report.problem)


def main() -> int:
    most = int(sys.argv[1]) if sys.argv[1:] else 1_500_000
    began, states, calls, bad = time.monotonic(), 0, 0, 0
    large_first = sorted(interleave.SCENARIOS, key=lambda scenario: not scenario.deep)
    with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
        for text, more_states, more_calls, failed in pool.imap(prove, [(each, most) for each in large_first], 1):
            print(text, flush=True)
            states, calls, bad = states + more_states, calls + more_calls, bad + failed
    seconds = time.monotonic() - began
    print("%d scenarios, %d states, %d calls, %d failed, %.0f s" % (len(large_first), states, calls, bad, seconds))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
