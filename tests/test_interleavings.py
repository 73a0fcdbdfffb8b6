# SPDX-License-Identifier: MIT
"""However calls of several processes are interleaved, whoever is killed or stopped in between: the lock holds.

interleave.py says how; `make prove` has larger scenarios.
"""

from __future__ import annotations

import interleave
import pytest

QUICK = ("two, one killed", "two, one stopped", "three, one killed", "three, two in a pipe")
SCENARIOS = [
    pytest.param(each, id=each.name, marks=() if each.name in QUICK else pytest.mark.long)
    for each in interleave.SCENARIOS
    if not each.deep
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_interleaving_is_safe_fair_and_comes_to_an_end(
    scenario: interleave.Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    report = interleave.explore(interleave.load(), scenario)
    with capsys.disabled():
        print("\n" + str(report))
    assert not report.problem, str(report)
    assert report.schedules > 10**6


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_shortcut_of_the_simulator_is_none(scenario: interleave.Scenario) -> None:
    """Random schedules with the code in threads of its own, never started anew, make the same calls."""
    code = interleave.load()
    assert sum(interleave.run_live(code, scenario, seed) for seed in range(8)) > 100


def test_a_schedule_can_be_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert interleave.replay(interleave.load(), interleave.SCENARIOS[0], "A5 B3") == 0
    assert capsys.readouterr().out.count("\n") >= 9
