# SPDX-License-Identifier: MIT
"""memmon.py ends what goes over a limit, and nothing else. Real processes, each with a cap of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from typing import Any, Iterator

import pytest
from support import (
    IS_ROOT,
    LINUX,
    JobShell,
    Project,
    catches,
    descendants_of,
    ended,
    finish,
    full_pipe,
    lives,
    marked,
    program,
    read_line,
    shell,
    wait_until,
)

READERS = ["/proc", "ps"] if LINUX else ["ps"]
ENDED_SOMETHING = 3


class Guarded:
    """A scratch place with memmon.py."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.memmon = str(project.tools / "memmon.py")

    @staticmethod
    def read_until(process: subprocess.Popen[bytes], word: str) -> str:
        """Return the rest of the first line that starts with a word."""
        while True:
            first, _, rest = read_line(process).partition(" ")
            if first == word:
                return rest

    def hog(self, cap: int, *options: object, **changes: Any) -> subprocess.Popen[bytes]:
        """Start a hog by itself; it has said that it is ready."""
        process = self.project.start(program("hog", "--cap", cap, *options), **changes)
        self.read_until(process, "ready")
        return process

    def run(self, *words: object, **changes: Any) -> subprocess.CompletedProcess[bytes]:
        """Run memmon to its end."""
        return self.project.run([self.memmon, *map(str, words)], **changes)

    def limit(self, *words: object, **changes: Any) -> int | None:
        """Return the limit that memmon has, in bytes."""
        result = self.run("--report", "/dev/fd/1", *words, "--", "true", **changes)
        found: int | None = json.loads(result.stdout)["limit"]
        return found

    def guard(self, *words: object, **changes: Any) -> subprocess.Popen[bytes]:
        """Start memmon."""
        return self.project.start([self.memmon, *map(str, words)], **changes)


@pytest.fixture(scope="session")
def bystander(lasting: Project) -> int:
    """The PID of a process that belongs to no test, and holds memory."""
    process = lasting.start(program("hog", "--cap", 60, "--last", 3600))
    Guarded.read_until(process, "waiting")
    return process.pid


@pytest.fixture
def place(project: Project, bystander: int) -> Iterator[Guarded]:
    yield Guarded(project)
    assert lives(bystander), "the innocent bystander is gone"


def told(text: bytes, word: str) -> list[str]:
    """Return memmon's lines that hold a word."""
    lines = text.decode().splitlines()
    assert all(line.startswith("memmon: ") for line in lines), lines
    return [line for line in lines if word in line]


# ---- what goes over the limit is ended ---------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
def test_a_process_over_its_limit_is_ended_and_the_line_says_why(place: Guarded, reader: str) -> None:
    rate = 0 if reader == "/proc" else 100
    command = program("hog", "--cap", 300, "--rate", rate)
    result = place.run("--limit", 100, "--", *command, set={"SEQEXEC_PROC": reader})
    assert result.returncode == -signal.SIGTERM
    (line,) = told(result.stderr, "ended ")
    pid = int(result.stdout.split()[1])
    for part in ("ended %d (" % pid, "hog.py", "limit 100 MB (--limit)", "SIGTERM", "gone after"):
        assert part in line


def test_the_overshoot_stays_small_even_at_full_speed(place: Guarded) -> None:
    hog = place.hog(800, "--wait", stdout=subprocess.PIPE)
    guard = place.guard("--pid", hog.pid, "--limit", 300)
    wait_until(lambda: len(os.listdir("/proc/%d/fd" % guard.pid)) > 4, "the guard looks")
    assert hog.stdin
    hog.stdin.write(b"\n")
    hog.stdin.flush()
    _, status, usage = os.wait4(hog.pid, 0)
    hog.returncode = -os.WTERMSIG(status)
    assert hog.returncode == -signal.SIGTERM
    assert usage.ru_maxrss < 300 * 1024 * 1.3, (
        "a busy machine is allowed for; the benchmark tells what is usual"
    )
    assert ended(guard) == ENDED_SOMETHING


@pytest.mark.parametrize("reader", READERS)
def test_one_that_ignores_term_and_goes_on_growing_is_killed_at_once(place: Guarded, reader: str) -> None:
    command = program("hog", "--cap", 400, "--rate", 100, "--ignore-term")
    environment = {"SEQEXEC_PROC": reader}
    result = place.run("--limit", 100, "--grace", 30, "--", *command, set=environment, timeout=20)
    assert result.returncode == -signal.SIGKILL
    (line,) = told(result.stderr, "ended ")
    assert "SIGTERM, SIGKILL after" in line and "still growing" in line


@pytest.mark.parametrize("grace", ["0.3", "2.0"])
def test_one_that_ignores_term_and_waits_is_killed_after_the_grace_period(place: Guarded, grace: str) -> None:
    """It is 2 s if nothing else is said."""
    command = program("hog", "--cap", 97, "--ignore-term")
    options = ["--grace", grace] if grace != "2.0" else []
    result = place.run("--limit", 100, *options, "--", *command)
    assert result.returncode == -signal.SIGKILL
    (line,) = told(result.stderr, "ended ")
    assert "SIGKILL after %s" % grace in line and "growing" not in line


def test_the_grace_period_counts_from_the_first_term(place: Guarded) -> None:
    """A chain that ignores TERM, each of which starts a successor, is ended with the offender all the same."""
    link = """trap '' TERM; sleep 0.1; [ "$1" = 0 ] || sh -c "$0" "$0" $(($1 - 1)) & wait"""
    line = 'link=$1; shift; sh -c "$link" "$link" 60 & exec "$@"'
    command = shell(line, link, *program("hog", "--cap", 97, "--ignore-term"))
    result = place.run("--limit", 100, "--grace", 1, "--", *command, timeout=40)
    assert result.returncode == -signal.SIGKILL
    (line,) = told(result.stderr, "ended ")
    found = re.search(r"and (\d+) desc.*SIGTERM, SIGKILL after (\d\.\d+) s, gone after (\d\.\d+) s", line)
    assert found and int(found.group(1)) >= 5, line
    assert 1 <= float(found.group(2)) < 2 and float(found.group(3)) < 3, line


def test_descendants_go_with_the_offender_and_siblings_stay(place: Guarded) -> None:
    hog = shlex_join(program("hog", "--cap", 300, "--children", 3, "--wait"))
    line = "read go; (sleep 60 & echo sibling $! ; %s; echo after $?; wait)" % hog
    parent = place.project.start(shell(line))
    guard = place.guard("--pid", parent.pid, "--limit", 100)
    assert parent.stdin
    parent.stdin.write(b"\n\n")
    parent.stdin.flush()
    sibling = int(Guarded.read_until(parent, "sibling"))
    offender = int(Guarded.read_until(parent, "ready"))
    children = descendants_of(offender)
    assert Guarded.read_until(parent, "after") == str(128 + signal.SIGTERM)
    assert lives(sibling) and lives(parent.pid)
    line = wait_for_line(guard, "ended ")
    assert "ended %d" % offender in line and "and 3 descendants" in line
    assert not [child for child in children if lives(child)]


def test_nobody_forks_away_while_its_family_is_ended(place: Guarded) -> None:
    command = program("hog", "--cap", 300, "--rate", 400, "--keep-forking")
    result = place.run("--limit", 100, "--", *command)
    assert result.returncode == -signal.SIGTERM
    assert told(result.stderr, "descendants")
    assert not told(result.stderr, "still there")
    assert not marked(place.project.word)


def test_a_double_fork_into_a_session_of_its_own_does_not_help(place: Guarded) -> None:
    result = place.run("--limit", 100, "--", *program("hog", "--cap", 300, "--leave"))
    (line,) = told(result.stderr, "ended ")
    assert "ended %d (" % int(result.stdout.split()[1]) in line


@pytest.mark.skipif(not LINUX, reason="the environment of others is read")
def test_what_carries_the_token_belongs_to_the_tree(place: Guarded) -> None:
    identity = "1.host.0.%d.t1" % os.getpid()
    root = place.project.start(shell("read end"))
    guard = place.guard(
        "--pid", root.pid, "--children-only", "--token", identity, "--limit", 100, "--limit-name", "X_MB"
    )
    orphan = place.hog(300, set={"SEQEXEC_RUN": "1.outer.0.1.t1:%s:1.inner.0.1.t1" % identity})
    assert ended(orphan) == -signal.SIGTERM
    assert "limit 100 MB (X_MB)" in wait_for_line(guard, "ended ")
    stranger = place.hog(150, set={"SEQEXEC_RUN": identity + "0"})
    Guarded.read_until(stranger, "waiting")
    assert root.stdin
    root.stdin.close()
    assert ended(guard) == ENDED_SOMETHING, "with --token it ends with its root"
    assert lives(stranger.pid)


def test_two_offenders_do_not_wait_for_one_another(place: Guarded) -> None:
    stubborn = shlex_join(program("hog", "--cap", 97, "--ignore-term"))
    other = shlex_join(program("hog", "--cap", 300, "--wait"))
    line = "%s & read go; %s; echo after" % (stubborn, other)
    parent = place.project.start(shell(line))
    guard = place.guard("--pid", parent.pid, "--limit", 100, "--grace", 20)
    Guarded.read_until(parent, "term")
    assert parent.stdin
    parent.stdin.write(b"\n\n")
    parent.stdin.flush()
    assert "SIGTERM, gone" in wait_for_line(guard, "ended ")
    assert Guarded.read_until(parent, "after") == ""


def test_the_total_limit_ends_the_largest_until_the_rest_fits(place: Guarded) -> None:
    hogs = "; ".join(shlex_join(program("hog", "--cap", size)) + " &" for size in (30, 40, 120, 50))
    parent = place.project.start(shell("read go; %s wait; echo done" % hogs.replace("&;", "&")))
    guard = place.guard("--pid", parent.pid, "--total", 200)
    assert parent.stdin
    parent.stdin.write(b"\n")
    parent.stdin.flush()
    line = wait_for_line(guard, "ended ")
    assert "--cap 120" in line and "limit 200 MB (--total)" in line
    for _ in range(3):
        Guarded.read_until(parent, "waiting")
    assert len(descendants_of(parent.pid)) == 3


# ---- and nothing else --------------------------------------------------------------------------------------


def ends_told(place: Guarded, hog_options: list[object], *words: object) -> list[str]:
    """Watch a hog until it has done all it does; return what memmon said of ends."""
    hog = place.hog(*hog_options, "--wait")  # type: ignore[arg-type]
    guard = place.guard("--pid", hog.pid, *words)
    assert hog.stdin
    hog.stdin.write(b"\n")
    hog.stdin.flush()
    Guarded.read_until(hog, "waiting")
    guard.send_signal(signal.SIGTERM)
    return told(finish(guard)[2], "ended ")


@pytest.mark.skipif(not LINUX, reason="ps tells nothing but RSS")
def test_a_mapped_file_is_no_memory_that_somebody_took(place: Guarded) -> None:
    path = place.project.path / "data"
    with open(path, "wb") as stream:
        stream.truncate(300 << 20)
    assert ends_told(place, [300, "--file", path], "--limit", 100, "--total", 150) == []


@pytest.mark.skipif(not LINUX, reason="ps tells nothing but RSS")
def test_shared_pages_count_once_in_the_total(place: Guarded) -> None:
    assert ends_told(place, [100, "--share", 10], "--limit", 400, "--total", 250) == []


@pytest.mark.parametrize("reader", READERS)
def test_a_child_between_fork_and_exec_is_not_its_parent(place: Guarded, reader: str) -> None:
    place.project.environment["SEQEXEC_PROC"] = reader
    assert ends_told(place, [200, "--run", 20], "--children-only", "--limit", 100) == []


def test_children_only_spares_the_root(place: Guarded) -> None:
    root = place.hog(200, "--children", 1)
    guard = place.guard("--pid", root.pid, "--children-only", "--limit", 100)
    Guarded.read_until(root, "waiting")
    guard.send_signal(signal.SIGTERM)
    assert told(finish(guard)[2], "ended ") == []
    assert lives(root.pid)


def test_an_ancestor_is_never_ended(place: Guarded) -> None:
    source = "x = bytearray(b'x') * (150 << 20)\nimport subprocess, sys\nsubprocess.run(sys.argv[1:])\n"
    python = program("hog")[0]
    parent = place.project.start([python, "-c", source, place.memmon, "--limit", "100"])
    line = read_line(parent, "stderr")
    while "cannot end" not in line:
        line = read_line(parent, "stderr")
    assert "memmon runs inside it" in line
    assert lives(parent.pid)


def test_dry_run_says_it_and_does_nothing(place: Guarded) -> None:
    guard = place.guard("--dry-run", "--limit", 100, "--", *program("hog", "--cap", 200))
    Guarded.read_until(guard, "waiting")
    guard.send_signal(signal.SIGTERM)
    status, _, text = finish(guard)
    assert len(told(text, "would end ")) == 1
    assert told(text, "ended ") == []


# ---- what counts: programs that are easily counted wrongly --------------------------------------------------


def watch_case(place: Guarded, case: str, *words: object) -> tuple[list[str], dict[str, Any]]:
    """Watch a case of cases.py until it is done, and end it; return memmon's lines and its report."""
    token = "1.host.0.%d.t1" % os.getpid()  # by which a worker without parents is found
    process = place.project.start(program("cases", case), set={"SEQEXEC_RUN": token})
    Guarded.read_until(process, "ready")
    report = place.project.path / "report"
    guard = place.guard("--pid", process.pid, "--token", token, "--report", report, *words)
    wait_until(lambda: catches(guard.pid, signal.SIGTERM), "the guard looks")
    assert process.stdin
    process.stdin.write(b"\n")
    process.stdin.flush()
    Guarded.read_until(process, "done")
    guard.send_signal(signal.SIGTERM)
    status, _, text = finish(guard)
    found = json.loads(report.read_text())
    assert status == (ENDED_SOMETHING if found["ended"] else 0)
    return [line for line in told(text, "") if "holds" not in line and " too: " not in line], found


@pytest.mark.skipif(not LINUX, reason="ps tells nothing but RSS")
@pytest.mark.parametrize(
    "case, words, least, most",
    [
        ("run_commands", ["--total", 350], 195, 240),
        ("rewrite", ["--limit", 512, "--interval", 0.2], 400, 440),
        ("share", ["--limit", 256], 260, 310),
        ("dirty_file", ["--limit", 256], 250, 310),
        ("double_fork", ["--limit", 256], 270, 320),
        ("give_back", ["--limit", 256], 5, 150),
        ("four_children", ["--limit", 0], 200, 250),
    ],
)
def test_what_a_process_does_not_hold_is_not_counted(
    place: Guarded, case: str, words: list[object], least: int, most: int
) -> None:
    """Nothing is ended, and the peak of the tree is right, in MB."""
    lines, report = watch_case(place, case, *words)
    assert (lines, report["ended"]) == ([], [])
    assert least <= report["peak"] / (1 << 20) <= most
    assert report["processes"] == 5 or case != "four_children"


@pytest.mark.skipif(not LINUX, reason="ps tells nothing but RSS")
def test_a_child_that_borrows_its_parents_memory_is_not_counted(place: Guarded) -> None:
    """A posix_spawn that waits before its exec shows the 200 MB of its parent, and holds nothing."""
    lines, report = watch_case(place, "borrow", "--total", 350, "--limit", 270)
    assert (lines, report["ended"]) == ([], [])
    assert 195 <= report["peak"] / (1 << 20) <= 240


@pytest.mark.skipif(not LINUX, reason="ps tells nothing but RSS")
def test_a_large_command_is_warned_of_once(place: Guarded) -> None:
    """It is over half of its limit; the commands that it starts beside its threads hold none of its memory."""
    command = [place.project.seqexec, *program("cases", "run_beside_threads")]
    result = place.project.run(command, input=b"\n", set={"MEMORY_LIMIT_MB": "500"})
    lines = [line for line in result.stderr.decode().splitlines() if line.startswith("memmon: ")]
    assert result.returncode == 0 and len(lines) == 1, result
    assert re.search(r"cases.py run_beside_threads.*\) holds [23]\d\d MB, .* of its limit of 500 MB", lines[0]), lines


@pytest.mark.skipif(not LINUX, reason="ps tells nothing but RSS")
def test_a_file_that_is_read_is_in_no_peak(place: Guarded) -> None:
    """Whatever else the machine does meanwhile: here another process takes pages as fast as it can."""
    path = place.project.path / "data"
    with open(path, "wb") as stream:
        stream.truncate(300 << 20)
    source = "import mmap, sys; file = open(sys.argv[1], 'rb')\n"
    source += "m = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
    source += "while m.read(1 << 20): pass"
    other = place.project.start([program("hog")[0], "-c", "while True: bytearray(30 << 20)"])
    result = place.run("--limit", 170, "--peak", "--", program("hog")[0], "-c", source, path)
    assert result.returncode == 0 and other.poll() is None
    assert 4 << 20 < int(result.stderr.split()[-1]) < 40 << 20, result.stderr


def test_one_figure_is_told_for_the_peak(place: Guarded) -> None:
    result = place.run("--peak", "--", program("hog")[0], "-c", "b = b'x' * (300 << 20)")
    text, last = result.stderr.decode().splitlines()
    assert "in up to 1 process" in text and not text.endswith("es")
    assert last == "peak %d" % int(last.split()[1]) and 295 << 20 <= int(last.split()[1]) <= 330 << 20
    assert text.split()[2] == str(round(int(last.split()[1]) / (1 << 20)))


def test_the_total_holds_against_one_that_ignores_term(place: Guarded) -> None:
    hog = place.hog(800, "--rate", 400, "--ignore-term", "--wait")
    guard = place.guard("--pid", hog.pid, "--limit", 0, "--total", 300)
    wait_until(lambda: catches(guard.pid, signal.SIGTERM), "the guard looks")
    assert hog.stdin
    hog.stdin.write(b"\n")
    hog.stdin.flush()
    _, status, usage = os.wait4(hog.pid, 0)
    hog.returncode = -os.WTERMSIG(status)
    assert hog.returncode == -signal.SIGKILL
    assert usage.ru_maxrss < 300 * 1024 * 1.2, "under 10 % on an idle machine: see the benchmark"
    assert ended(guard) == ENDED_SOMETHING


def test_a_dry_run_says_what_it_would_end_for_the_total(place: Guarded) -> None:
    guard = place.guard("--dry-run", "--total", 100, "--", *program("cases", "hold"))
    assert guard.stdin
    guard.stdin.write(b"\n")
    guard.stdin.flush()
    line = wait_for_line(guard, "would end")
    guard.stdin.close()
    assert ended(guard) == 0 and "the tree holds" in line and "limit 100 MB" in line


@pytest.mark.skipif(not LINUX, reason="ps tells nothing but RSS")
def test_forty_workers_near_the_limit_are_two_lines(place: Guarded) -> None:
    process = place.project.start(program("cases", "hold_workers"))
    Guarded.read_until(process, "ready")
    guard = place.guard("--pid", process.pid, "--limit", 24)
    assert process.stdin
    process.stdin.write(b"\n")
    process.stdin.flush()
    Guarded.read_until(process, "done")
    assert "% of its limit" in wait_for_line(guard, "holds")
    guard.send_signal(signal.SIGTERM)  # its last look reads all of them
    (rest,) = told(finish(guard)[2], "")
    assert " too: over 50 % of the limit" in rest


def test_the_report_tells_what_was_ended_and_why(place: Guarded) -> None:
    report = place.project.path / "report"
    result = place.run("--limit", "0.1G", "--report", report, "--", *program("hog", "--cap", 300))
    found = json.loads(report.read_text())
    (end,) = found["ended"]
    assert end["pid"] == int(result.stdout.split()[1]) and "hog.py" in end["command"]
    assert end["signal"] == signal.SIGTERM and end["size"] >= found["limit"] == int(102.4 * (1 << 20))
    assert 0 <= end["seconds"] < 10 and found["total"] is None
    assert found["status"] == -signal.SIGTERM
    assert found["peak"] >= found["peak_process"] >= end["size"]
    assert place.run("--report", report, "--", *shell("exit 3")).returncode == 3
    assert json.loads(report.read_text())["status"] == 3


@pytest.mark.parametrize("name", ["--limit", "MEMORY_LIMIT_MB", "SEQEXEC_MEMORY_LIMIT_MB"])
def test_a_limit_may_have_a_suffix(place: Guarded, name: str) -> None:
    words, variables = (["--limit", "1.5g"], {}) if name == "--limit" else ([], {name: "1.5g"})
    assert place.limit(*words, set=variables) == 1536 << 20


# ---- what people see ---------------------------------------------------------------------------------------


def test_it_warns_once_at_each_of_50_75_and_90_percent(place: Guarded) -> None:
    guard = place.guard("--limit", 200, "--", *program("hog", "--cap", 185, "--rate", 200))
    Guarded.read_until(guard, "waiting")
    warnings = [wait_for_line(guard, "holds") for _ in range(3)]
    guard.send_signal(signal.SIGTERM)
    assert told(finish(guard)[2], "holds") == []
    percents = [int(line.split(" % of its limit")[0].rsplit(" ", 1)[1]) for line in warnings]
    assert 50 <= percents[0] < 75 <= percents[1] < 90 <= percents[2] < 100
    assert "limit of 200 MB (--limit)" in warnings[0]


def test_quiet_silences_warnings_but_no_kill(place: Guarded) -> None:
    result = place.run("--quiet", "--limit", 100, "--", *program("hog", "--cap", 300, "--rate", 400))
    assert len(result.stderr.splitlines()) == 1
    assert told(result.stderr, "ended ")


def test_a_warning_about_a_command_with_a_signal_in_its_name_is_no_kill(place: Guarded) -> None:
    source = "import sys; x = b'x' * (70 << 20); sys.stdin.read()"
    argv = [place.project.seqexec, program("hog")[0], "-c", source, "SIGTERM"]
    run = place.project.start(argv, set={"MEMORY_LIMIT_MB": "100"})
    assert re.search("SIG.*holds", read_line(run, "stderr"))
    status, _, rest = finish(run)
    assert (status, b"ended" in rest) == (0, False), rest


def in_container(*words: object) -> list[str]:
    """Return a command that runs another one as PID 1 of a PID namespace."""
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if not LINUX or subprocess.run([*unshare, "true"], stderr=subprocess.PIPE).returncode:
        pytest.skip("no PID namespace to be had")
    return [*unshare, *map(str, words)]


@pytest.mark.parametrize("who", ["root", "member"])
def test_who_gets_the_pid_of_one_that_has_ended_is_not_watched(place: Guarded, who: str) -> None:
    result = place.project.run(in_container(*program("heir", who, place.memmon, *program("hog"))))
    reused, ended, stranger = result.stdout.decode().splitlines()
    assert (reused, stranger) == ("True", "(0, 0)") and "--wait): 1" in ended, result.stdout


def test_a_process_that_the_first_of_a_container_is_given_keeps_its_limit(place: Guarded) -> None:
    hog = program("hog", "--cap", 300, "--leave")
    result = place.project.run(in_container(place.memmon, "--limit", 100, "--", *hog))
    assert result.returncode == 0
    assert [line for line in told(result.stderr, "ended ") if "SIGTERM" in line], result.stderr


def test_who_has_lost_its_parent_does_not_watch_whoever_got_it(place: Guarded) -> None:
    """That would be the whole machine, or a user's whole desktop."""
    line = """mkfifo go said; setsid sh -c '(read line; exec "$0" >&2) <go 2>said & exit 0' "$0"; echo >go; cat said"""
    result = place.project.run(in_container("sh", "-c", line.replace(" >go;", " >go &"), place.memmon))
    assert result.stdout == b"memmon: the process that started memmon has ended: name a PID with --pid\n"


def test_where_no_process_can_be_seen_nothing_is_started(place: Guarded) -> None:
    """In /proc of another PID namespace, in a directory that is none, with a handful of descriptors."""
    touch = ["touch", place.project.path / "ran"]
    container = in_container(place.memmon, "--", *touch)
    container.remove("--mount-proc")
    empty = place.project.path / "empty"
    empty.mkdir()
    others = [
        place.project.run(container),
        place.run("--", *touch, set={"SEQEXEC_PROC": str(empty)}),
        place.project.run(shell('ulimit -n 8; exec "$@"', program("hog")[0], place.memmon, "--", *touch)),
    ]
    for result in others:
        assert (result.returncode, len(told(result.stderr, ""))) == (125, 1), result.stderr
    assert not (place.project.path / "ran").exists()


def test_a_run_that_is_the_first_process_of_a_container_has_its_limit(place: Guarded) -> None:
    hog = [place.project.seqexec, *program("hog", "--cap", 300)]
    result = place.project.run(in_container(*hog), set={"MEMORY_LIMIT_MB": "100"})
    assert b"memmon: ended " in result.stderr and b"SIGTERM" in result.stderr, result.stderr
    assert b"machine" not in result.stderr


def test_no_process_is_ever_stopped(place: Guarded) -> None:
    """su, script, sudo and shells act on what stops below them: a kill must look like any other."""
    watcher = program("stops", *program("hog", "--cap", 300))
    for options in ([], ["--children", 1], ["--children", 1, "--ignore-term"]):
        result = place.run("--limit", 100, "--grace", 0.5, "--", *watcher, *map(str, options), timeout=30)
        assert result.returncode - 128 in (signal.SIGTERM, signal.SIGKILL), (options, result)
        assert b"stopped" not in result.stdout
    until = "until grep -q tree log; do sleep 0.02; done; exit 7"
    both = program("hog", "--cap", 300), program("stops", *shell(until))
    line = "%s & %s; echo $?" % (*map(shlex.join, both),)
    with open(place.project.path / "log", "w") as log:
        result = place.run("--total", 150, "--", *shell(line), timeout=30, stderr=log)
    assert result.stdout.endswith(b"\n7\n") and b"stopped" not in result.stdout, result


def test_a_line_in_the_background_does_not_stop_the_guard(place: Guarded) -> None:
    """As `stty tostop` has it for others: then nothing would watch any more."""
    terminal = JobShell(place.project)
    terminal.do("stty tostop")
    terminal.do("mkfifo go; %s -- sh -c 'read line <go; exit 7' &" % shlex.quote(place.memmon))
    terminal.line("echo >go; wait %1; echo status $?")
    terminal.expect(r"memmon: peak")
    terminal.expect("status 7")


def test_a_total_that_nothing_helps_ends_nobody(place: Guarded) -> None:
    source = "x = bytearray(b'x') * (150 << 20)\nimport subprocess, sys\n"
    source += "other = subprocess.Popen(['sleep', '60'])\nguard = subprocess.Popen(sys.argv[1:])\n"
    source += "sys.stdin.readline(); print(other.poll()); guard.terminate(); guard.wait(); other.kill()\n"
    argv = [program("hog")[0], "-c", source, place.memmon, "--total", "100"]
    parent = place.project.start(argv)
    assert "most of it in what may not be ended: nothing is" in read_line(parent, "stderr")
    status, out, err = finish(parent)
    assert (status, out) == (0, b"None\n") and b"ended 1" not in err, err


@pytest.mark.parametrize("reader", READERS)
def test_without_a_limit_for_each_the_total_still_holds(place: Guarded, reader: str) -> None:
    words = ["--limit", 0, "--total", 100, "--", *program("hog", "--cap", 200)]
    result = place.run(*words, set={"SEQEXEC_PROC": reader}, timeout=30)
    assert result.returncode == -signal.SIGTERM and told(result.stderr, "the tree holds"), result


@pytest.mark.parametrize("locale", ["C", "", None])
def test_the_command_has_the_locale_that_it_was_given(place: Guarded, locale: str | None) -> None:
    argv = ["--quiet", "--", *shell('echo "${LC_CTYPE-unset}"')]
    result = place.run(*argv, set={"LANG": None, "LC_CTYPE": locale})
    assert result.stdout.decode() == ("unset" if locale is None else locale) + "\n"


@pytest.mark.parametrize("interval", ["0", "1e9", "1e-9"])
def test_the_environment_is_understood_as_seqexec_understands_it(place: Guarded, interval: str) -> None:
    changes = {"set": {"CHECK_INTERVAL": interval, "MEMORY_LIMIT_MB": "1e3"}}
    result = place.run("--report", "/dev/fd/1", "--", *shell("exit 3"), **changes)
    assert (result.returncode, json.loads(result.stdout)["limit"]) == (3, 1000 << 20)
    assert place.project.run([place.project.seqexec, *shell("exit 3")], **changes).returncode == 3


def test_no_limit_is_zero_as_everywhere(place: Guarded) -> None:
    result = place.run("--", *shell("exit 3"), set={"MEMORY_LIMIT_MB": "0"})
    assert result.returncode == 3 and "peak" in told(result.stderr, "")[0]
    assert place.limit("--limit", 0) is None


def test_the_peak_of_a_short_command_is_what_the_kernel_counted(place: Guarded) -> None:
    result = place.run("--", program("hog")[0], "-c", "x = bytearray(b'x') * (100 << 20)")
    (line,) = told(result.stderr, "peak")
    assert 100 <= float(line.split()[2]) <= 130, line


def test_a_command_that_dies_of_a_signal_that_has_no_name(place: Guarded) -> None:
    command = [program("hog")[0], "-c", "import os; os.kill(os.getpid(), 40)"]
    assert place.run("--", *command).returncode == -40


def test_the_status_does_not_depend_on_a_reader(place: Guarded) -> None:
    words = ["--peak", "--", *shell("exit 3")]
    with open("/dev/full", "w") as full:
        assert place.run(*words, stderr=full).returncode == 3
        result = place.run("-h", stdout=full)
        assert (result.returncode, len(told(result.stderr, ""))) == (125, 1)
    with full_pipe() as (_, pipe):
        assert place.run(*words, stderr=pipe).returncode == 3
    result = place.project.run(shell('"$1" --help | true; "$1" --once | true', place.memmon))
    assert (result.returncode, result.stderr) == (0, b"")


def test_the_end_of_what_a_command_left_is_seen_at_once(place: Guarded) -> None:
    result = place.run("--interval", 600, "--", *shell("sleep 0.5 & sleep 1 & exit 4"), timeout=30)
    assert result.returncode == 4
    assert re.search(r" \(sh\) has ended; still watching ", told(result.stderr, "")[0])


@pytest.mark.parametrize("how", ["signal(chld, signal.SIG_IGN)", "pthread_sigmask(signal.SIG_BLOCK, [chld])"])
@pytest.mark.parametrize("python", [[], [sys.executable]], ids=["sh", "python"])
def test_a_caller_that_hears_of_no_child_hides_no_status(place: Guarded, how: str, python: list[str]) -> None:
    source = "import os, signal, sys; chld = signal.SIGCHLD; signal.%s; os.execv(sys.argv[1], sys.argv[1:])" % how
    command = [*python, place.memmon, "--interval", "600", "--", *shell("exit 3")]
    result = place.project.run([sys.executable, "-c", source, *command], timeout=30)
    assert result.returncode == 3, result.stderr


@pytest.mark.skipif(not LINUX, reason="ps tells nothing but RSS")
def test_a_fork_is_ended_for_pages_of_its_own_alone(place: Guarded) -> None:
    """100 MB of its parent and 150 MB of its own: over 120 MB it is ended, over 160 MB it is not."""
    for limit, is_ended in ((120, True), (160, False)):
        told_lines, report = watch_case(place, "own_fork", "--limit", limit)
        assert len(report["ended"]) == is_ended and bool(told_lines) == is_ended, report


def test_lines_that_nobody_reads_hold_no_kill_up_and_are_said_later(place: Guarded) -> None:
    hog = shlex_join(program("hog", "--cap", 300, "--rate", 400))
    with full_pipe() as (reader, writer):
        command = shell("exec 2>/dev/null; %s; echo it is gone; read line" % hog)
        guard = place.guard("--interval", 0.2, "--limit", 100, "--", *command, stderr=writer)
        Guarded.read_until(guard, "it")
        with os.fdopen(os.dup(reader), "rb", 0) as lines:
            assert "limit of 100 MB" in told(next(line for line in lines if line != b"x" * 4095 + b"\n"), "holds")[0]
            assert told(next(line for line in lines if b"ended" in line), "SIGTERM")
        assert finish(guard)[0] == 1


def test_the_variable_that_set_the_limit_is_named(place: Guarded) -> None:
    for name in ("MEMORY_LIMIT_MB", "SEQEXEC_MEMORY_LIMIT_MB"):
        result = place.run("--", *program("hog", "--cap", 300), set={name: "100"})
        assert "limit 100 MB (%s)" % name in told(result.stderr, "ended ")[0]


def test_a_hostile_command_line_is_shown_harmless(place: Guarded) -> None:
    evil = "\x1b[2J\nmemmon: ended 1 (init)"
    source = "import signal; x = bytearray(b'x') * (150 << 20); signal.pause()"
    python = program("hog")[0]
    result = place.run("--quiet", "--limit", 100, "--", python, "-c", source, evil)
    assert len(result.stderr.splitlines()) == 1
    assert b"\x1b" not in result.stderr


def test_once_shows_the_tree_with_its_memory(place: Guarded) -> None:
    root = place.hog(50, "--children", 2)
    Guarded.read_until(root, "waiting")
    text = place.run("--once", "--pid", root.pid).stdout.decode()
    assert len(text.splitlines()) == 5 and "python" in text
    assert max(map(len, text.splitlines())) < 120
    _, first, *children, total = text.splitlines()
    assert int(first.split()[0]) == root.pid and 50 <= float(first.split()[1]) < 90
    assert {int(line.split()[0]) for line in children} == set(descendants_of(root.pid))
    assert [line[32:].startswith("  ") for line in (first, *children)] == [False, True, True]
    assert total.split()[0] == "total"


@pytest.mark.skipif(not LINUX, reason="/proc")
def test_peak_is_the_last_line_when_asked_for(place: Guarded) -> None:
    hog = place.hog(120, "--wait")
    guard = place.guard("--peak", "--pid", hog.pid, "--token", "none", "--limit", 1000)
    wait_until(lambda: catches(guard.pid, signal.SIGTERM))
    assert hog.stdin
    hog.stdin.write(b"\n")
    hog.stdin.flush()
    Guarded.read_until(hog, "waiting")
    guard.send_signal(signal.SIGTERM)
    word, peak = finish(guard)[2].decode().splitlines()[-1].split()
    assert word == "peak" and 100 << 20 < int(peak) < 200 << 20


# ---- a command of its own ----------------------------------------------------------------------------------


def test_a_commands_status_output_and_input_are_untouched(place: Guarded) -> None:
    result = place.run("--", *shell("cat; echo error >&2; exit 7"), input=b"\0in\n")
    assert (result.returncode, result.stdout) == (7, b"\0in\n")
    assert result.stderr.startswith(b"error\n") and b"memmon: peak " in result.stderr
    assert place.run("--", *shell("kill -USR1 $$")).returncode == -signal.SIGUSR1
    assert place.run("--", "/nonexistent/x").returncode == 127
    nothing = place.run("--", "")
    assert nothing.returncode == 127 and told(nothing.stderr, "(an empty word): "), nothing
    assert place.run("--", "/etc/passwd").returncode == 126
    assert b"peak" not in nothing.stderr


def test_signals_are_as_the_caller_had_them(place: Guarded) -> None:
    assert place.run("--quiet", "--", *shell("yes | head -1")).stdout == b"y\n"
    seen = "grep SigIgn /proc/self/status"
    if LINUX:
        ignored = int(place.project.run(shell("trap '' USR1; exec " + seen)).stdout.split()[1], 16)
        line = "trap '' USR1; exec %s --quiet -- %s" % (place.memmon, seen)
        seen_by_command = int(place.project.run(shell(line)).stdout.split()[1], 16)
        kept = ~(3 << 31)  # posix_spawn() leaves 32 and 33 ignored, and make does
        assert seen_by_command & kept == ignored & kept


@pytest.mark.skipif(not LINUX, reason="/proc/self/fd")
def test_a_command_gets_no_descriptor_more(place: Guarded) -> None:
    command = shell("ls /proc/self/fd | wc -l")
    assert place.run("--quiet", "--", *command).stdout == place.project.run(command).stdout


def test_term_is_passed_on_to_the_command(place: Guarded) -> None:
    guard = place.guard("--", *shell("trap 'echo got; exit 3' TERM; echo up; while :; do sleep 0.01; done"))
    assert read_line(guard) == "up"
    guard.send_signal(signal.SIGTERM)
    status, out, _ = finish(guard)
    assert (status, out) == (3, b"got\n")


# ---- its own end -------------------------------------------------------------------------------------------


def test_it_ends_after_the_descendants_that_the_root_left(place: Guarded) -> None:
    root = place.project.start(shell("%s & read end" % shlex_join(program("hog", "--cap", 20))))
    orphan = int(Guarded.read_until(root, "ready"))
    guard = place.guard("--pid", root.pid, "--limit", 40)
    wait_for_line(guard, "holds")
    assert root.stdin
    root.stdin.close()
    assert "still watching what it left behind: %d" % orphan in wait_for_line(guard, "has ended")
    os.kill(orphan, signal.SIGTERM)
    assert ended(guard) == 0


def test_a_reader_that_has_gone_ends_no_guard(place: Guarded) -> None:
    """It may be the user's: 2>&1 | head -1."""
    root = place.hog(300, "--wait")
    guard = place.guard("--pid", root.pid, "--token", "x", "--limit", 100)
    assert guard.stderr
    guard.stderr.close()
    wait_until(lambda: catches(guard.pid, signal.SIGTERM))
    assert root.stdin
    root.stdin.write(b"\n")
    root.stdin.flush()
    assert ended(root) == -signal.SIGTERM
    assert ended(guard) == ENDED_SOMETHING


@pytest.mark.skipif(not LINUX, reason="ps keeps nothing open")
def test_more_processes_than_descriptors_are_watched_too(place: Guarded) -> None:
    import resource

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    hog = shlex_join(program("hog", "--cap", 300, "--rate", 400))
    line = "for i in $(seq 60); do sleep 3 & done; sleep 0.5; %s; wait" % hog
    result = place.run("--limit", 100, "--interval", 0.2, "--", *shell(line), preexec_fn=few)
    assert result.returncode == 0, result.stderr
    assert re.search(rb"ended .* limit 100 MB \(--limit\); SIGTERM.*, gone after", result.stderr), result.stderr


@pytest.mark.skipif(not (LINUX and IS_ROOT), reason="only root may")
def test_it_comes_before_those_it_watches_and_its_command_does_not(place: Guarded) -> None:
    guard = place.guard("--", *program("hog", "--cap", 20))
    hog = int(Guarded.read_until(guard, "ready"))
    realtime = os.SCHED_RR | os.SCHED_RESET_ON_FORK
    wait_until(
        lambda: (
            os.sched_getscheduler(guard.pid) == realtime or os.getpriority(os.PRIO_PROCESS, guard.pid) == -20
        )
    )
    assert os.sched_getscheduler(hog) == os.SCHED_OTHER
    assert os.getpriority(os.PRIO_PROCESS, hog) == os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.skipif(not LINUX, reason="/proc")
def test_term_ends_it_at_once(place: Guarded) -> None:
    hog = place.hog(300, "--ignore-term", "--wait")
    guard = place.guard("--pid", hog.pid, "--limit", 100, "--grace", 30, "--token", "x")
    wait_until(lambda: catches(guard.pid, signal.SIGTERM), "the guard looks")
    guard.send_signal(signal.SIGTERM)
    assert ended(guard) == 0
    assert lives(hog.pid)


def test_a_kill_on_its_way_is_told_when_memmon_is_ended(place: Guarded) -> None:
    hog = place.hog(97, "--ignore-term", "--wait")
    guard = place.guard("--pid", hog.pid, "--limit", 100, "--grace", 30, "--token", "x", "--quiet")
    assert hog.stdin
    hog.stdin.write(b"\n")
    hog.stdin.flush()
    Guarded.read_until(hog, "term")
    guard.send_signal(signal.SIGTERM)
    (line,) = told(finish(guard)[2], "ended ")
    assert "1 still there" in line


@pytest.mark.parametrize("reader", READERS)
def test_a_command_that_becomes_a_daemon_is_still_watched(place: Guarded, reader: str) -> None:
    """Its last process may be younger than the environments that a ps has shown a moment ago."""
    source = "import os, time\nfor step in range(2):\n    if os.fork():\n        os._exit(0)\n    os.setpgid(0, 0)\n"
    source += "    time.sleep(0.03)\ntime.sleep(0.5)\nx = bytearray(b'x') * (150 << 20)\ntime.sleep(20)\n"
    for _ in range(3 if reader == "ps" else 1):
        argv = ["--quiet", "--limit", "100", "--", program("hog")[0], "-c", source]
        result = place.run(*argv, set={"SEQEXEC_PROC": reader})
        assert result.returncode == 0 and told(result.stderr, "ended "), result


@pytest.mark.parametrize("line", ["sleep 2", "sleep 2 & exit"], ids=["command", "heir"])
def test_a_ps_that_ends_is_no_reason_to_look_again(place: Guarded, line: str) -> None:
    """The budget is 5 % of a core; woken by the end of each look's ps, it takes all of one."""
    began, before = time.monotonic(), os.times()
    assert place.run("--", *shell(line), set={"SEQEXEC_PROC": "ps"}).returncode == 0
    wall, after = time.monotonic() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert 2 <= wall and used < wall / 2


# ---- bad input ---------------------------------------------------------------------------------------------


# What is said of the most likely mistakes is in test_messages.py as a whole.
BAD_INPUT = [
    (["--limit", "-5"], "--limit: '-5'"),
    (["--limit", "\u0663"], "--limit"),
    (["--total", ""], "--total: ''"),
    (["--interval", "-1"], "--interval: '-1'"),
    (["--grace", "-1"], "--grace"),
    (["--pid", "0"], "--pid"),
    (["--pid", "-1"], "--pid"),
    (["--pid", "1" * 5000], "--pid"),
    (["--pid", "abc\x1b[0m"], "--pid"),
    (["--token", "x", "--", "true"], "--token"),
    (["--token", "", "--pid", "1"], "--pid 1"),
    (["--quiet=1"], "--quiet takes no value"),
    (["stray"], "stray"),
]


def test_bad_input_is_one_line_and_status_2(place: Guarded) -> None:
    for words, part in BAD_INPUT:
        result = place.run(*words)
        (line,) = told(result.stderr, "")
        assert result.returncode == 2 and part in line and line.isprintable(), (words, result)


@pytest.mark.parametrize("name", ["MEMORY_LIMIT_MB", "CHECK_INTERVAL", "SEQEXEC_MEMORY_LIMIT_MB"])
def test_junk_in_the_environment_is_named_never_taken_for_a_number(place: Guarded, bystander: int, name: str) -> None:
    for junk in "2X", "-1":
        result = place.run("--pid", bystander, set={name: junk})
        (line,) = told(result.stderr, "")
        assert result.returncode == 2 and name in line and junk in line, result


@pytest.mark.skipif(not IS_ROOT, reason="needs to be another user")
def test_a_process_of_another_user_is_refused(place: Guarded, bystander: int) -> None:
    os.chmod(place.project.base, 0o777)
    words = ("--pid", bystander)
    result = place.run(*words, preexec_fn=lambda: os.setuid(65534), set={"SEQEXEC_PYTHON": None})
    assert result.returncode == 1
    assert told(result.stderr, "another user")


# ---- small help --------------------------------------------------------------------------------------------


def shlex_join(words: list[str]) -> str:
    return " ".join(map(shlex.quote, words))


def wait_for_line(process: subprocess.Popen[bytes], word: str) -> str:
    """Return the first line on stderr that holds a word."""
    while True:
        line = read_line(process, "stderr")
        if word in line:
            return line
