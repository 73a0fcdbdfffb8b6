# SPDX-License-Identifier: MIT
"""Each promise of the README that no other file measures: how long, how often, how many, by which user, where from.

Everything is seen from outside: command line, standard error, and the files that people may look at.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from pages import default
from support import (
    GAVE_UP,
    HAS_STRANGER,
    LINUX,
    STRANGER,
    TIMED_OUT,
    Holder,
    Project,
    Terminal,
    Tool,
    as_stranger,
    believing_nothing,
    changed,
    ended,
    finish,
    json_of,
    lives,
    owners,
    program,
    quoted,
    read_line,
    settle,
    shell,
    stat_of,
    state_of,
    stranger_has_python,
    wait_for_waiter,
    wait_until,
)

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what runs")
MB = 1 << 20
NO_PIPES: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
ELSEWHERE = "1.elsewhere-0123abcd.4026531836.1.t123456"
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


def json_from(project: Project, *words: str) -> Any:
    result = project.run([project.seqexec, *words, "--json"])
    assert result.returncode == 0, result.stderr
    return json_of(result)


class Repository:
    """A repository in a project's directory, with a hook that does not end before it is told to."""

    def __init__(self, project: Project, hook: str = "echo ready; read line <go") -> None:
        self.project = project
        shutil.rmtree(project.path / ".git")
        (project.path.parent / ".gitconfig").write_text("[user]\n\tname = me\n\temail = me@example.org\n")
        assert project.run(["git", "init", "-q"]).returncode == 0
        os.mkfifo(project.path / "go")  # git gives a hook no standard input
        path = project.path / ".git" / "hooks" / "pre-commit"
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n%s\n" % hook)
        path.chmod(0o755)

    def commit(self) -> subprocess.Popen[bytes]:
        """Start a commit by hand; return when it is in its hook."""
        words = ["git", "commit", "-q", "--allow-empty", "-m", "by hand"]
        process = self.project.start(words, stderr=subprocess.STDOUT)
        assert read_line(process) == "ready"
        return process

    def go(self) -> None:
        (self.project.path / "go").write_text("go\n")


def last_run(project: Project) -> Any:
    return json_from(project, "--history")[-1]


def owner_file(scope: Path) -> Path:
    (name,) = owners(scope)
    return scope / "executor.lock" / name


def plant_owner_elsewhere(scope: Path) -> None:
    """Have a lock whose owner is on another host: nothing but its signs of life tells whether it lives."""
    (scope / "executor.lock").mkdir(mode=0o700, parents=True)
    scope.chmod(0o700)
    (scope / "executor.lock" / ELSEWHERE).write_text("command make\n")


# ---- what takes a minute: these wait, and do nothing else --------------------------------------------------
#
# test_order.py has the same with shorter times.


@pytest.mark.patient
@pytest.mark.long
def test_every_minute_a_holder_gives_a_sign_of_life(project: Project, tool: Tool, holder: Holder) -> None:
    """It is the time of its owner file, which another host on the same directory watches."""
    time.sleep(2)  # what is written as the command starts is none
    path = owner_file(project.state)
    before = path.stat().st_mtime_ns
    wait_until(lambda: path.stat().st_mtime_ns != before, "a sign of life", 75)
    assert holder.release() == 0


@pytest.mark.patient
@pytest.mark.long
def test_a_holder_on_another_host_is_dead_after_five_minutes_of_silence(project: Project, tmp_path: Path) -> None:
    plant_owner_elsewhere(project.state)
    began = time.monotonic()
    done = project.run([believing_nothing(project, tmp_path), "--wait", "400", *shell("echo ran")], timeout=420)
    assert (done.returncode, done.stdout) == (0, b"ran\n")
    assert 290 <= time.monotonic() - began < 340


@pytest.mark.patient
@pytest.mark.long
def test_the_waiting_line_comes_again_after_half_a_minute(project: Project, tool: Tool, holder: Holder) -> None:
    waiter = project.start(tool.wrap(["true"]))
    assert "1 of 1" in read_line(waiter, "stderr")
    began = time.monotonic()
    assert "1 of 1" in read_line(waiter, "stderr", 45)
    assert 25 < time.monotonic() - began < 45
    holder.release()
    assert ended(waiter) == 0


# ---- how long ----------------------------------------------------------------------------------------------


def test_a_holder_on_another_host_is_dead_after_the_silence_that_the_readme_names(
    project: Project, tmp_path: Path
) -> None:
    """Here a copy with a shorter time; the time itself is a long test."""
    seconds = "ABANDONED = %.1f" % float(default("SEQEXEC_ABANDONED"))
    copy = believing_nothing(project, tmp_path, (seconds, "ABANDONED = 2.0"))
    plant_owner_elsewhere(project.state)
    assert project.run([copy, "--wait", "1", "true"]).returncode == GAVE_UP
    began = time.monotonic()
    done = project.run([copy, *shell("echo ran")])
    assert (done.returncode, done.stdout) == (0, b"ran\n")
    assert 2 <= time.monotonic() - began < 12


class Stubborn:
    """A command that a time limit ends and that ignores TERM. It touches a file at TERM, and another while it lives."""

    LINE = """trap ': >"$1/term"' TERM; echo ready; while :; do : >"$1/alive"; sleep 0.05; done"""

    def __init__(self, project: Project, *options: str, **changes: Any) -> None:
        directory = project.path.parent / "stubborn"
        directory.mkdir()
        command = [project.seqexec, "--timeout", "0.3", *options, *shell(self.LINE, directory)]
        self.status = project.run(command, **changes).returncode
        self.grace = (directory / "alive").stat().st_mtime - (directory / "term").stat().st_mtime


def test_between_term_and_kill_lie_two_seconds(project: Project) -> None:
    stubborn = Stubborn(project)
    assert stubborn.status == TIMED_OUT
    grace = float(default("SEQEXEC_GRACE"))
    assert grace - 0.3 <= stubborn.grace < grace + 3


def test_a_stopped_command_that_is_ended_gets_to_see_it(project: Project, seqexec: Tool) -> None:
    """After SIGTERM it is continued: else it would be killed with its last words unsaid."""
    line = "trap 'echo last words; exit' TERM; kill -STOP $$; while :; do sleep 0.05; done"
    done = project.run([project.seqexec, "--timeout", "0.5", *shell(line)], set={"SEQEXEC_GRACE": "10"})
    assert (done.returncode, done.stdout) == (TIMED_OUT, b"last words\n")


def test_a_stopped_orphan_that_is_ended_gets_to_see_it(project: Project, seqexec: Tool) -> None:
    words = project.path / "words"
    line = "trap 'echo last words >\"$1\"; exit' TERM; echo $$; while :; do sleep 0.05; done"
    process = project.start(seqexec.wrap(shell(line, words)))
    command = int(read_line(process))
    process.kill()
    os.kill(command, signal.SIGSTOP)
    wait_until(lambda: state_of(command) == "T")
    ended(process)
    assert project.run(seqexec.wrap(["true"]), set={"SEQEXEC_GRACE": "10"}).returncode == 0
    assert words.read_text() == "last words\n"


@needs_git
def test_the_end_of_another_git_is_seen_at_once(project: Project, seqexec: Tool) -> None:
    """Most of a few are: looks now and then would see one of them soon, and another one late."""
    repository = Repository(project)
    late = []
    for number in range(4):
        other = repository.commit()
        mine = project.start([seqexec.path, "git", "commit", "-q", "--no-verify", "--allow-empty", "-m", "ours"])
        assert "git commit -q --allow-empty -m by hand" in read_line(mine, "stderr")
        time.sleep(0.1 + number * 0.07)  # at different moments of whatever period there is
        repository.go()
        assert ended(other) == 0
        began = time.monotonic()
        assert ended(mine) == 0
        late.append(time.monotonic() - began)
    assert sorted(late)[2] < 0.2, late


# ---- status ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not HAS_STRANGER, reason="needs root and setpriv")
def test_of_two_users_in_one_queue_the_status_names_both(project: Project, seqexec: Tool) -> None:
    if not stranger_has_python(project):
        pytest.skip("this Python can only be started by root")
    project.base.chmod(0o1777)
    for path in [project.path, *project.path.rglob("*")]:
        os.chown(str(path), STRANGER, STRANGER)
    running = project.start(as_stranger(seqexec.wrap(shell("echo ready; read line"))))
    read_line(running)
    waiter = project.start(seqexec.wrap(["true"]))
    wait_for_waiter(project.state, waiter)
    found = json_from(project, "--status")
    users = [pwd.getpwuid(uid).pw_name for uid in (STRANGER, os.geteuid())]
    assert [entry["user"] for entry in [found["holder"], *found["waiters"]]] == users
    finish(running)
    assert ended(waiter) == 0


def from_of(project: Project) -> str:
    return str(json_from(project, "--status")["holder"]["from"])


def test_the_status_says_where_a_command_comes_from(project: Project, seqexec: Tool) -> None:
    command = seqexec.wrap(shell("echo ready; read line"))
    for variables, expected in (({}, "-"), ({"CI": "true"}, "CI")):
        holder = Holder(project, seqexec, set=variables)
        assert from_of(project) == expected
        assert holder.release() == 0
    window = Terminal(project, command)
    window.expect("ready")
    assert from_of(project) == "terminal"
    assert re.search(r"PID %d +\S+ " % window.process.pid, project.run([project.seqexec, "--status"]).stdout.decode())
    window.line("go")
    assert ended(window.process) == 0
    if shutil.which("make"):
        (project.path / "Makefile").write_text("SHELL := %s\nall:\n\t@echo ready; read line; :\n" % project.seqexec)
        make = project.start(["make"])
        read_line(make)
        assert from_of(project) == "make"
        assert finish(make)[0] == 0


@needs_git
def test_the_status_says_that_a_git_hook_runs(project: Project, seqexec: Tool) -> None:
    repository = Repository(project, "exec " + quoted(seqexec.wrap(shell("echo ready; read line <go"))))
    commit = repository.commit()
    assert from_of(project) == "git hook"
    repository.go()
    assert finish(commit)[0] == 0


def test_the_status_says_how_much_memory_a_run_holds(project: Project, seqexec: Tool) -> None:
    """All of its processes together; here two of 100 MB each."""
    hog = quoted(program("hog", "--cap", 100))
    holder = project.start(seqexec.wrap(shell("%s & %s & wait" % (hog, hog))))
    for _ in range(2):
        wait_until(lambda: read_line(holder).startswith("waiting"))
    memory = json_from(project, "--status")["holder"]["memory"]
    assert 200 * MB < memory < 300 * MB
    shown = project.run([project.seqexec, "--status"]).stdout.decode()
    megabytes = int(re.search(r"PID %d .* (\d+) MB " % holder.pid, shown).group(1))  # type: ignore[union-attr]
    assert 190 < megabytes < 310
    holder.terminate()
    ended(holder)


# ---- history -----------------------------------------------------------------------------------------------


def test_the_history_says_how_a_run_went(project: Project, seqexec: Tool) -> None:
    """Status, the time it waited, the time it ran, when it ended."""
    holder = Holder(project, seqexec)
    waiter = project.start([seqexec.path, *shell("sleep 0.7; exit 7")])
    wait_for_waiter(project.state, waiter)
    time.sleep(0.7)  # it is this that it waits, at the least
    holder.release()
    assert ended(waiter) == 7
    run = last_run(project)
    assert (run["status"], run["by"]) == (7, None)
    assert 0.6 <= run["waited"] < 15 and 0.6 <= run["ran"] < 15
    assert abs(run["ended"] - time.time()) < 20
    assert run["kind"] == "" and "exit 7" in run["command"]


def test_the_history_knows_the_most_memory_that_a_run_held(project: Project, seqexec: Tool) -> None:
    """Of all its processes together, as the memory guard counts it."""
    line = 'for each in a b; do %s >"$1.$each" & all="$all $!"; done; for each in a b; do '
    line += 'until grep -q waiting "$1.$each"; do sleep 0.02; done; done; sleep 0.5; kill $all; wait; :'
    hog = quoted(program("hog", "--cap", 80))
    done = project.run(seqexec.wrap(shell(line % hog, project.path / "said")))
    assert done.returncode == 0, done.stderr
    assert 160 * MB < last_run(project)["peak"] < 230 * MB
    shown = project.run([project.seqexec, "--history"]).stdout.decode().splitlines()[-1]
    assert 160 < int(re.search(r" (\d+) MB ", shown).group(1)) < 245  # type: ignore[union-attr]


def test_the_history_says_who_ended_a_run(project: Project, seqexec: Tool) -> None:
    assert project.run([seqexec.path, "--timeout", "0.2", "sleep", "30"]).returncode == TIMED_OUT
    assert last_run(project)["by"] == "timeout"
    assert project.run(seqexec.wrap(shell("kill -TERM $$"))).returncode == -signal.SIGTERM
    assert (last_run(project)["by"], last_run(project)["status"]) == (None, -signal.SIGTERM)
    done = project.run([seqexec.path, "--memory-limit", "60", *program("hog", "--cap", 200)])
    assert done.returncode != 0
    assert last_run(project)["by"] == "memory"
    words = [line.rpartition("(")[2] for line in project.run([seqexec.path, "--history"]).stdout.decode().splitlines()]
    assert "timeout" in words[-3] and "memory" in words[-1]


# ---- nothing is left running, and no process is taken for another ------------------------------------------


@pytest.mark.parametrize("is_older", [True, False], ids=["older than the run", "younger"])
def test_who_was_there_before_a_run_is_no_part_of_it(project: Project, seqexec: Tool, is_older: bool) -> None:
    """A process has a dead run's token in its environment. It is of that run only if it is younger."""
    dead = project.start(["true"])
    assert ended(dead) == 0
    holder = Holder(project, seqexec)
    head, _, start = owner_file(project.state).name.rpartition(".")
    assert start[0] == "t"
    assert holder.release() == 0
    moment = int(start[1:]) + (100 * os.sysconf("SC_CLK_TCK") if is_older else -1)
    name = "%s.%d.t%d" % (head.rpartition(".")[0], dead.pid, moment)
    # The leader of a session is a daemon, so this one has a leader without the token.
    leader = project.start(shell('SEQEXEC_RUN="$1" sleep 60 & echo $!; wait', name))
    process = int(read_line(leader))
    wait_until(lambda: b"sleep" in Path("/proc/%d/cmdline" % process).read_bytes())
    assert (int(stat_of(process)[19]) < moment) is is_older
    lock = project.state / "executor.lock"
    lock.mkdir(mode=0o700, exist_ok=True)
    (lock / name).write_text("command make\n")
    done = project.run(seqexec.wrap(shell("echo ran")), set={"SEQEXEC_GRACE": "0.1"})
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    assert lives(process) is is_older, done.stderr
    settle(project, seqexec)


# ---- the README's table of variables -----------------------------------------------------------------------


def test_orphans_and_leftovers_have_the_defaults_of_the_readme(project: Project, seqexec: Tool) -> None:
    assert default("SEQEXEC_ORPHANS") == "end"
    holder = Holder(project, seqexec)
    holder.process.kill()
    ended(holder.process)
    assert project.run(seqexec.wrap(["true"])).returncode == 0
    assert not lives(holder.command_pid)
    assert re.findall(r"\w+", default("SEQEXEC_LEFTOVERS"))[:2] == ["wait", "leave"]
    began = time.monotonic()
    line = "sleep 0.7 >/dev/null 2>&1 & echo $!"
    assert not lives(int(project.run(seqexec.wrap(shell(line))).stdout))
    assert time.monotonic() - began > 0.7
    left = int(project.run([seqexec.path, "-c", "sleep 60 >/dev/null 2>&1 & echo $!"]).stdout)
    project.leaves.add(left)
    assert lives(left)


def test_the_shell_and_the_place_have_the_defaults_of_the_readme(project: Project, seqexec: Tool) -> None:
    shown = project.run([seqexec.path, "-c", "readlink /proc/$$/exe"]).stdout.decode().strip()
    assert shown == os.path.realpath(default("SEQEXEC_SHELL"))
    status = project.run([seqexec.path, "--status", "--json"], set={"SEQEXEC_DIR": None})
    place = Path(json_of(status)["state"])
    place.rmdir()  # a look makes it
    assert place == Path(default("SEQEXEC_DIR")) / project.state.name


@needs_git
def test_a_git_waits_for_others_as_long_as_the_readme_says(project: Project, tmp_path: Path) -> None:
    setting = 'number_setting("SEQEXEC_GIT_WAIT", default=%.1f)'
    there = setting % float(default("SEQEXEC_GIT_WAIT"))
    copy = changed(project, tmp_path, (there, setting % 1.5))
    repository = Repository(project)
    other = repository.commit()
    began = time.monotonic()
    done = project.run([copy, "git", "commit", "-q", "--no-verify", "--allow-empty", "-m", "ours"])
    assert done.returncode == 1
    assert 1.5 <= time.monotonic() - began < 6.5
    repository.go()
    assert finish(other)[0] == 0
