# SPDX-License-Identifier: MIT
"""However calls of several processes are interleaved, whichever of them is killed in between: the lock holds.

interleave.py says how; `make prove` has larger scenarios, and puts faults in that they must find.
"""

from __future__ import annotations

import interleave
import pytest

ALL = [pytest.param(each, id=each.name) for each in interleave.QUICK]
ALL += [pytest.param(each, id=each.name, marks=pytest.mark.long) for each in interleave.LONG]


@pytest.mark.parametrize("scenario", ALL)
def test_one_at_a_time_in_order_and_to_the_end(scenario: interleave.Scenario) -> None:
    report = interleave.explore(interleave.load(), scenario)
    print(report)
    assert not report.problem, str(report)
    assert report.is_whole


@pytest.mark.parametrize("scenario", ALL)
def test_a_cut_history_forgets_nothing(scenario: interleave.Scenario) -> None:
    """The explorer's shortcut is none: random walks with whole histories make the same calls."""
    code, calls, seed = interleave.load(), 0, 0
    while calls < 100 or seed < 5:  # a walk in which a process is killed early makes few calls
        calls += interleave.check_cuts(code, scenario, seed)
        seed += 1
