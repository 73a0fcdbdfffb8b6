# SPDX-License-Identifier: MIT
"""However calls of several processes are interleaved, whichever of them is killed in between: the lock holds.

interleave.py says how; `make prove` has larger scenarios, and puts all faults in that they must find.
"""

from __future__ import annotations

import sys

import interleave
import pytest
from support import ROOT

sys.path.append(str(ROOT / "tests" / "prove"))
import prove_interleavings

ALL = [pytest.param(each, id=each.name) for each in interleave.QUICK]
ALL += [pytest.param(each, id=each.name, marks=pytest.mark.long) for each in interleave.LONG]
# One fault of each kind, whose scenario finds it in less than a second.
FAULTS = (
    "a dead run is not ended",
    "the tidier takes out the lines of the living",
    "the newest place is taken over first",
    "a keeper does not wait for its make",
    "a call that enters takes no flock",
    "a taken belt is no reason to wait",
)


@pytest.mark.parametrize("scenario", ALL)
def test_one_at_a_time_in_order_and_to_the_end(scenario: interleave.Scenario) -> None:
    report = interleave.explore(scenario)
    print(report.text)
    assert not report.problem, report.problem
    assert report.is_whole


@pytest.mark.parametrize("scenario", ALL)
def test_a_cut_history_forgets_nothing(scenario: interleave.Scenario) -> None:
    """The explorer's shortcut is none: random walks with whole histories make the same calls."""
    calls, seed = 0, 0
    while calls < 100 or seed < 5 and scenario in interleave.LONG:  # a walk with an early kill makes few calls
        calls += interleave.check_cuts(scenario, seed)
        seed += 1


@pytest.mark.parametrize("name", FAULTS)
def test_a_deliberate_fault_is_found(name: str) -> None:
    fault = next(each for each in prove_interleavings.MUTANTS if each.name == name)
    line, is_missed = prove_interleavings.judge(fault)
    assert not is_missed, line
