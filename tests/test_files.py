# SPDX-License-Identifier: MIT
"""Each file is one that people copy: it works alone, says what it is, and shares its blocks to the byte."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import PRODUCT, ROOT, Project, finish

sys.path += [str(ROOT / "tests" / "prove"), str(ROOT / "tests" / "tools")]
import interleave
import prove_interleavings
import prove_mutants
import run_tests

FILES = [name for name in PRODUCT if (ROOT / name).exists()]


def test_the_shared_blocks_are_the_same_in_every_file() -> None:
    check = [sys.executable, "-B", str(ROOT / "tests" / "tools" / "sync_shared.py"), "--check"]
    result = subprocess.run(check, stdout=subprocess.PIPE)
    assert result.returncode == 0, result.stdout.decode()


@pytest.mark.parametrize("name", FILES)
def test_the_fences_of_shared_blocks_match(name: str) -> None:
    fences = re.findall(r"^# (BEGIN|END) SHARED (\S+)", (ROOT / name).read_text(), re.MULTILINE)
    assert fences[0::2] == [("BEGIN", block) for _, block in fences[1::2]]
    assert all(kind == "END" for kind, _ in fences[1::2])
    assert fences


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "SPDX-License-Identifier: MIT" in text[:1000]
    assert re.search(r'^__version__ = "\d+\.\d+', text, re.MULTILINE)
    assert (ROOT / name).stat().st_mode & 0o111 == 0o111
    assert [line for line in text.splitlines() if len(line) > 100] == []
    functions = [each for each in ast.walk(ast.parse(text)) if isinstance(each, ast.FunctionDef)]
    assert [each.name for each in functions if (each.end_lineno or 0) - each.lineno >= 40] == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_works_when_it_is_the_only_one_copied(project: Project, name: str) -> None:
    alone = project.path / "alone"
    alone.mkdir()
    shutil.copy(str(ROOT / name), str(alone / name))
    dash = "--seq-" if name == "make_sequential.py" else "--"
    for command in (
        [str(alone / name), dash + "version"],
        [project.environment.get("SEQEXEC_PYTHON") or sys.executable, "-I", str(alone / name), dash + "help"],
    ):
        result = project.run(command, cwd=alone)
        assert result.returncode == 0, result.stderr.decode()
        assert result.stdout
        assert result.stderr == b""
    run = {"seqexec.py": ["true"], "memmon.py": ["--", "true"], "make_sequential.py": ["--version"]}[name]
    result = project.run([str(alone / name), *run], cwd=alone)
    assert result.returncode == 0, result.stderr.decode()
    assert [path.name for path in Path(alone).iterdir()] == [name]


@pytest.mark.parametrize("fault", prove_mutants.MUTANTS, ids=lambda fault: fault.name)
def test_a_deliberate_fault_has_its_place_and_its_test(fault: prove_mutants.Mutant) -> None:
    """`make prove` puts it in. A change of the code or of a test's name changes the fault, too."""
    prove_mutants.put_into_files(fault)
    name, _, words = fault.tests
    tree = ast.parse((ROOT / "tests" / name).read_text())
    tests = [each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    for word in words.split(" or "):
        assert any(each.startswith("test_") and word in each for each in tests), word


@pytest.mark.parametrize("fault", prove_interleavings.MUTANTS, ids=lambda fault: fault.name)
def test_a_fault_for_the_explorer_has_its_place_and_its_scenario(fault: prove_interleavings.Mutant) -> None:
    prove_interleavings.mutate((ROOT / "seqexec.py").read_text(), fault)
    assert fault.found_by in [each.name for each in interleave.SCENARIOS + interleave.DEEP]


def test_what_a_tool_leaves_running_fails_its_test(project: Project) -> None:
    """The tests say so themselves: what Project.close() ended in silence would be found by none."""
    tool = project.path / "seqexec.py"
    tool.write_text("#!/bin/sh\nsleep 60 >/dev/null 2>&1 &\n")
    tool.chmod(0o755)
    assert finish(project.start([str(tool)]))[0] == 0
    with pytest.raises(AssertionError, match="left running: .*sleep 60"):
        project.close()


def test_what_is_left_out_or_picked_or_put_first_are_files_that_exist() -> None:
    assert set(run_tests.SAME_EVERYWHERE + run_tests.VERSION_FILES + run_tests.BUSY) <= set(run_tests.test_files())


def test_no_fault_gets_lost_on_the_way() -> None:
    """A head that is written wrong is none: its fault would never be put in."""
    assert len(prove_interleavings.MUTANTS) >= 40 and len(prove_mutants.MUTANTS) >= 90
