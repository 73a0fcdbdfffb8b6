# SPDX-License-Identifier: MIT
"""What memmon.py asks the system, on tables of the tests' own: /proc in a directory, and lines of ps."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Iterator

import pytest
from pages import default
from support import LINUX, PRODUCT_DIRECTORY, Project, program, read_line

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def memmon() -> Iterator[ModuleType]:
    """The module itself, fresh for every test."""
    yield load("memmon")


@functools.lru_cache(maxsize=None)
def compiled(name: str) -> CodeType:
    path = PRODUCT_DIRECTORY / (name + ".py")
    return compile(path.read_bytes(), str(path), "exec")


def load(name: str) -> ModuleType:
    """Return one of the tools as a module."""
    module = ModuleType(name + "_under_test")
    exec(compiled(name), module.__dict__)
    return module


class Mock:
    """A /proc in a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def add(
        self,
        pid: int,
        ppid: int,
        megabytes: int = 1,
        *,
        name: bytes = b"a",
        state: str = "S",
        start: int = 5000,
        flags: int = 0,
        exit_signal: int = 17,
        **files: str,
    ) -> None:
        """Add a process with an RSS; its other files are made up to fit, or given."""
        directory = self.path / str(pid)
        directory.mkdir(exist_ok=True)
        pages = megabytes * (1 << 20) // PAGE
        head = b"%d (%s) " % (pid, name)
        rest = "%s %d %d %d 0 -1 %d 1 0 0 0 0 0 0 0 20 0 1 0 %d 0 %d 0" % (
            state,
            ppid,
            pid,
            pid,
            flags,
            start,
            pages,
        )
        more = " 0" * 12 + " %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n" % exit_signal
        (directory / "stat").write_bytes(head + (rest + more).encode())
        files.setdefault("status", status(anonymous=megabytes))
        files.setdefault("cmdline", "prog%d\0" % pid)
        for file, text in files.items():
            (directory / file).write_text(text)


def status(anonymous: int = 0, files: int = 0, shared: int = 0, swap: int = 0) -> str:
    """Return the part of a /proc/PID/status that counts memory, from MB."""
    names = ("VmRSS", "RssAnon", "RssFile", "RssShmem", "VmSwap")
    sizes = (anonymous + files + shared, anonymous, files, shared, swap)
    return "Name:\ta\n" + "".join("%s:\t%8d kB\n" % (n, s * 1024) for n, s in zip(names, sizes)) + "Threads:\t1\n"


def rollup(anonymous: int = 0, part: int | None = None, shared: int = 0, lazy: int = 0, swap: int = 0) -> str:
    """Return a smaps_rollup, from MB; part: what the process has of its anonymous pages."""
    names = ("Rss", "Pss", "Pss_Anon", "Pss_Shmem", "Anonymous", "LazyFree", "Swap", "SwapPss")
    part = anonymous if part is None else part
    sizes = (anonymous + shared, part + shared, part, shared, anonymous, lazy, swap, swap)
    return "x\n" + "".join("%s: %d kB\n" % (n, s * 1024) for n, s in zip(names, sizes))


@pytest.fixture
def mock(project: Project) -> Mock:
    return Mock(project.path / "proc")


def dry_run(project: Project, mock: Mock, *words: object) -> list[str]:
    """Return what memmon would do about the tree under 4242, up to its first silence."""
    command = [
        str(project.tools / "memmon.py"),
        "--dry-run",
        "--pid",
        "4242",
        "--interval",
        "0.01",
        *map(str, words),
    ]
    guard = project.start(command, set={"SEQEXEC_PROC": str(mock.path)})
    # a process that says when the guard has come by: its size makes the last line
    mock.add(4999, 4242, 4000)
    lines = []
    while not lines or "4999" not in lines[-1]:
        lines.append(read_line(guard, "stderr"))
    guard.send_signal(signal.SIGTERM)
    rest = guard.communicate(timeout=15)[1].decode().splitlines()
    return [line for line in lines + rest if "would end" in line and "4999" not in line]


# ---- /proc -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        b"sh",
        b") R 1 (",
        b"a) S 1 1 1 (b",
        b"a b\tc",
        b"a\nb",
        b"",
        b"((((",
        b"))))",
        b"\xff\xfe",
        b"x" * 10240,
    ],
)
def test_a_hostile_command_name_changes_no_field(memmon: ModuleType, mock: Mock, name: bytes) -> None:
    mock.add(4243, 4242, 3, name=name, state="T", start=777)
    memmon.PROC = str(mock.path)
    process = memmon.read_process(4243)
    assert (process.ppid, process.state, process.start, process.rss) == (4242, "T", "t777", 3 << 20)
    assert os.fsencode(process.name) == name or process.name.encode("utf-8", "surrogateescape") == name
    shown = memmon.printable(process.name, 40)
    assert shown.isprintable() and len(shown) <= 40


@pytest.mark.parametrize(
    "text", [b"", b"1", b"1 (a", b"1 (a) S", b"1 (a) S x 1 1 0" + b" 0" * 30, b"\0" * 500]
)
def test_a_stat_line_that_is_junk_is_no_process(memmon: ModuleType, text: bytes) -> None:
    assert memmon.parse_stat(1, text) is None


def test_what_vanishes_while_it_is_read_is_left_out(memmon: ModuleType, mock: Mock) -> None:
    mock.add(10, 1)
    (mock.path / "11").mkdir()  # gone between the listing and the open
    (mock.path / "13").write_text("a file")
    (mock.path / "self").mkdir()
    (mock.path / "\u0661").mkdir()
    memmon.PROC = str(mock.path)
    assert list(memmon.read_processes()) == [10]
    assert memmon.read_environment(11) is None
    assert memmon.read_command(11) == ""


def test_a_child_is_not_older_than_its_parent(mock: Mock) -> None:
    mock.add(10, 1, start=500)
    mock.add(11, 10, start=500)
    mock.add(12, 11, start=499)  # its parent's PID was reused
    mock.add(13, 12, start=900)
    mock.add(14, 14, start=900)
    seqexec = load("seqexec")
    seqexec.PROC = str(mock.path)
    table = seqexec.read_processes()
    assert [process.pid for process in seqexec.descendants(table, [10])] == [11]
    assert [process.pid for process in seqexec.descendants(table, [14])] == []


def test_the_offender_is_found_by_what_cannot_be_taken_back(project: Project, mock: Mock) -> None:
    mock.add(4242, 1)
    mock.add(4243, 4242, 300)
    mock.add(4244, 4242, 300, status=status(anonymous=10, files=290))
    mock.add(4245, 4242, 300, status=status(shared=290, files=10))
    mock.add(4246, 1, 900)
    lines = dry_run(project, mock, "--limit", 200)
    assert [line.split()[3] for line in lines] == ["4243", "4245"]
    assert "300 MB, limit 200 MB" in lines[0] and "290 MB" in lines[1]


def test_a_hog_that_was_swapped_out_does_not_get_away(project: Project, mock: Mock) -> None:
    (mock.path / "meminfo").write_text("MemTotal: 100 kB\nSwapTotal:  4000000 kB\nSwapFree:  1000000 kB\n")
    mock.add(4242, 1)
    mock.add(4243, 4242, 20, status=status(anonymous=20, swap=500))
    (line,) = dry_run(project, mock, "--limit", 200)
    assert " 4243 " in line and "520 MB" in line


def test_a_zombie_holds_nothing(project: Project, mock: Mock) -> None:
    mock.add(4242, 1)
    mock.add(4243, 4242, 0, state="Z", status="Name:\ta\nState:\tZ (zombie)\nThreads:\t1\n")
    mock.add(4250, 4242, 300)
    (line,) = dry_run(project, mock, "--limit", 200)
    assert " 4250 " in line and "300 MB" in line


def test_what_a_fork_has_from_its_parent_does_not_count(project: Project, mock: Mock) -> None:
    whole = rollup(anonymous=300)
    thread = "task/%d/" % 4242
    mock.add(4242, 1, 300, smaps_rollup=whole)
    (mock.path / "4242" / "task" / "4242").mkdir(parents=True)
    (mock.path / (str(4242) + "/" + thread + "stat")).write_text("4242 (a) D 1 1 1 0")
    (mock.path / (str(4242) + "/" + thread + "wchan")).write_text("kernel_clone")
    mock.add(4243, 4242, 300, flags=0x40, smaps_rollup=whole)  # vfork: just its parent's figures
    own = "1000-2000 rw-p 00000000 00:00 0\nPrivate_Clean: 0 kB\nPrivate_Dirty: %d kB\nAnonymous: 300000 kB\n"
    mock.add(4244, 4242, 299, flags=0x40, smaps_rollup=rollup(299, 150), smaps=own % 9000)
    mock.add(4245, 4242, 290, flags=0x40, smaps_rollup=rollup(290, 290), smaps=own % 290000)
    mock.add(4246, 4242, 299)
    lines = dry_run(project, mock, "--limit", 200, "--children-only")
    assert [line.split()[3] for line in lines] == ["4245", "4246"]


@pytest.mark.skipif(not LINUX, reason="/proc")
def test_one_that_is_being_taken_away_is_not_looked_for(
    memmon: ModuleType, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hog = project.start(program("hog", "--cap", 10))
    read_line(hog)
    reader = memmon.Reader()
    member = memmon.Member(memmon.read_process(hog.pid), None, 1 << 30)
    member.threshold = 1 << 30
    assert reader.measure(member)
    hog.kill()
    os.waitid(os.P_PID, hog.pid, os.WEXITED | os.WNOWAIT)
    assert reader.measure(member) is None, "a zombie"
    hog.wait()
    monkeypatch.setattr(memmon, "read_proc", lambda pid, name: pytest.fail("looked"))
    assert reader.measure(member) is None


def test_a_fork_that_executes_after_it_was_read_is_read_again(memmon: ModuleType, mock: Mock) -> None:
    """Else it would be ended for its part of its parent's memory, of which it has nothing any more."""
    memmon.PROC = str(mock.path)
    mock.add(10, 1, 300, smaps_rollup=rollup(300, 150))
    mock.add(11, 10, 300, flags=0x40, smaps_rollup=rollup(300, 150), smaps="")
    reader = memmon.Reader()
    member = memmon.Member(memmon.read_process(11), None, 1 << 30)
    held = reader.held

    def execute(member: Any) -> Any:
        found = held(member)
        mock.add(11, 10, 2, smaps_rollup=rollup(2), smaps="")
        reader.held = held
        return found

    reader.held = execute
    assert reader.measure(member) == 2 << 20 and member.size == 150 << 20


def test_a_fork_that_executes_while_it_is_read_is_read_again(memmon: ModuleType, mock: Mock) -> None:
    """Its status is then that of its parent's memory, and its flags are its own."""
    memmon.PROC = str(mock.path)
    mock.add(11, 10, 300, flags=0x40, status=status(anonymous=300))
    reader = memmon.Reader()
    read_status = reader.read_status

    def execute(member: Any) -> Any:
        fields = read_status(member)
        mock.add(11, 10, 2, status=status(anonymous=2))
        return fields

    reader.read_status = execute
    assert reader.measure(memmon.Member(memmon.read_process(11), None, 1 << 30)) == 2 << 20


@pytest.mark.parametrize(
    "text, private",
    [
        ("rw-p 00000000 00:00 0 [heap]", 30),
        ("rw-s 00000000 00:01 2053                  /dev/zero (deleted)", 30),
        ("rw-s 00000000 00:01 2053                  /memfd:a b: c (deleted)", 30),
        ("rw-s 00000000 00:30 2053                  /dev/shm/x", 30),
        ("rw-s 00000000 08:01 2053                  /home/x: y", 7),
        ("rw-p 00000000 08:01 2053                  /usr/lib/libc.so", 7),
    ],
)
def test_private_pages_are_those_of_anonymous_and_of_shared_memory(
    memmon: ModuleType, text: str, private: int
) -> None:
    lines = "7f2c5a000000-7f2c6c000000 %s\nRss: 50 kB\nShared_Clean: 9 kB\nPrivate_Clean: 10 kB\n"
    lines += "Private_Dirty: 20 kB\nAnonymous: 7 kB\nVmFlags: rd wr\n"
    assert memmon.sum_private((lines % text).encode() * 2) == 2 * private * 1024


@pytest.mark.parametrize(
    "rollup_text, alone, part",
    [
        (rollup(250, 125, shared=300), 550, 425),
        (rollup(885, lazy=800), 85, 85),
        (rollup(20, swap=500), 520, 520),
        ("Rss: 1024 kB\nPss: 512 kB\nAnonymous: 1024 kB\nSwap: 0 kB\n", 1, 0.5),  # Linux before 5.4
    ],
)
def test_the_formula_of_what_a_process_holds(
    memmon: ModuleType, rollup_text: str, alone: float, part: float
) -> None:
    fields = memmon.parse_sizes(rollup_text.encode())
    assert memmon.sum_rollup(fields) == (alone * (1 << 20), part * (1 << 20))


def test_pages_are_visited_one_by_one_only_where_some_may_be_given_back(memmon: ModuleType, mock: Mock) -> None:
    """A visit costs 10 ms a GB, and as much again between a limit's crossing and the signal."""
    memmon.PROC = str(mock.path)
    mock.path.mkdir(exist_ok=True)
    vmstat = mock.path / "vmstat"
    vmstat.write_text("nr 0\npgalloc_normal 1\npglazyfree 7\n")
    mock.add(20, 1, megabytes=100, smaps_rollup=rollup(90))
    reader = memmon.Reader()  # what was given back before it came is not known
    member = memmon.Member(memmon.read_process(20), None, memmon.NO_LIMIT)

    def held() -> int:
        return reader.held(member)[0] >> 20

    assert (held(), held()) == (90, 100)  # the first has shown that nothing was given back
    vmstat.write_text("nr 0\npgalloc_normal 1\npglazyfree 8\n")
    reader.handed_out()
    mock.add(20, 1, megabytes=100, smaps_rollup=rollup(90, lazy=10))
    assert (held(), held()) == (80, 80)


def test_a_thread_is_no_process(memmon: ModuleType, mock: Mock) -> None:
    memmon.PROC = str(mock.path)
    loadavg = mock.path / "loadavg"
    loadavg.write_text("0.20 0.06 0.02 1/83 19\n")
    reader = memmon.Reader()
    assert reader.newcomers(True) == []
    loadavg.write_text("0.20 0.06 0.02 1/83 21\n")
    mock.add(20, 1, exit_signal=-1)
    mock.add(21, 1)
    assert [process.pid for process in reader.newcomers(False)] == [21]


def test_new_processes_are_found_by_the_last_pid(memmon: ModuleType, mock: Mock) -> None:
    memmon.PROC = str(mock.path)
    loadavg = mock.path / "loadavg"
    loadavg.write_text("0.20 0.06 0.02 1/83 30\n")
    mock.add(10, 1)
    mock.add(30, 1)
    reader = memmon.Reader()

    def found(thorough: bool = False) -> list[int]:
        return sorted(process.pid for process in reader.newcomers(thorough))

    assert found(True) == [10, 30]
    mock.add(15, 1)
    assert (
        found() == []
    )  # the counter has not moved: there can be none; the thorough look asks nevertheless
    assert found(True) == [15]
    loadavg.write_text("0.20 0.06 0.02 1/83 33\n")
    mock.add(31, 30)
    assert found() == [31]
    mock.add(32, 30)  # its PID was given out before it could be seen: it is tried once more
    assert 32 in found()
    loadavg.write_text("0.20 0.06 0.02 1/83 12\n")  # the counter has wrapped
    mock.add(12, 30)
    assert 12 in found()
    loadavg.write_text("0.20 0.06 0.02 1/83 9000\n")  # too many to try one by one
    mock.add(8000, 30)
    assert 8000 in found()
    found()
    assert found() == []


def test_a_child_with_a_smaller_pid_is_below_its_parent(project: Project, mock: Mock) -> None:
    for pid, ppid in (77, 78), (78, 4247), (4247, 1):
        mock.add(pid, ppid)
    words = [str(project.tools / "memmon.py"), "--once", "--pid", "4247"]
    shown = project.run(words, set={"SEQEXEC_PROC": str(mock.path)}).stdout.decode().splitlines()
    assert [line[32:] for line in shown[1:-1]] == ["prog4247", "  prog78", "    prog77"]


def test_without_the_machines_counters_time_takes_their_place(memmon: ModuleType, mock: Mock) -> None:
    memmon.PROC = str(mock.path)
    reader = memmon.Reader()
    first = reader.handed_out()
    assert reader.handed_out() >= first > 0
    (mock.path / "vmstat").write_text(
        "nr_free_pages 1\npgalloc_dma 1\npgalloc_normal 20\npgalloc_movable 4\nallocstall 9\n"
    )
    assert memmon.Reader().handed_out() == 25 * PAGE


# ---- ps ----------------------------------------------------------------------------------------------------

PS_LINES = [
    # procps
    ("   4242    4240    4242 Ss      2844 Sun Nov 22 19:40:16 2026 bash",
     (4242, 4240, 4242, "S", "s1795376416", "bash", 2844 << 10)),
    ("   4243    4242    4242 Z+         0 Sun Nov  1 09:05:06 2026 sh <defunct>",
     (4243, 4242, 4242, "Z", "s1793523906", "sh", 0)),
    # macOS: flags, a path with blanks, a long resident size
    ("  501     1   501 S+       1048576 Thu Feb 29 00:00:00 2024 /Applications/A B.app/C",
     (501, 1, 501, "S", "s1709164800", "/Applications/A B.app/C", 1 << 30)),
    # FreeBSD
    ("12345     1 12345 I            128 Mon Jan  1 00:00:00 2024 sh",
     (12345, 1, 12345, "I", "s1704067200", "sh", 128 << 10)),
]  # fmt: skip


def fields(process: Any) -> tuple[Any, ...]:
    return (process.pid, process.ppid, process.pgid, process.state, process.start, process.name, process.rss)


@pytest.mark.parametrize("line, expected", PS_LINES)
def test_a_line_of_ps(memmon: ModuleType, line: str, expected: tuple[Any, ...]) -> None:
    assert fields(memmon.parse_ps_line(line)) == expected


@pytest.mark.parametrize(
    "line", ["", "PID", "1 2 3", "x 1 1 S 1 Sun Nov 22 19:40:16 2026 a", "12 1 1 S 10"]
)
def test_a_line_of_ps_that_is_junk_is_no_process(memmon: ModuleType, line: str) -> None:
    assert memmon.parse_ps_line(line) is None


@pytest.mark.skipif(not LINUX, reason="both readers are there on Linux")
def test_both_readers_see_the_same(memmon: ModuleType, project: Project) -> None:
    process = project.start(program("hog", "--cap", 20, "--children", 1))
    assert read_line(process).startswith("ready")
    assert read_line(process).startswith("full")
    seen = {}
    for proc in ("/proc", ""):
        memmon.PROC = proc
        found = memmon.read_process(process.pid)
        seen[proc] = [found.pid, found.ppid, found.pgid, found.sid, found.name]
        assert 20 << 20 < found.rss < 60 << 20
        assert memmon.read_command(process.pid).endswith("--cap 20 --children 1")
        entries = (memmon.read_environment(process.pid) or b"").split(b"\0")
        assert b"SEQEXEC_TEST=" + project.word.encode() in entries
        table = memmon.read_processes()
        assert [each.ppid for each in table.values()].count(process.pid) == 1
        assert memmon.signal_process(found, 0) is True
        found.start = found.start[:-1] + ("0" if found.start[-1] != "0" else "1")
        assert memmon.signal_process(found, signal.SIGKILL) is False
    assert seen["/proc"] == seen[""]
    assert process.poll() is None


@pytest.mark.parametrize("pid", [1, 0, -1, -5000])
def test_no_signal_ever_goes_to_groups_everybody_or_init(memmon: ModuleType, pid: int) -> None:
    process = memmon.Process(pid, "t0", "x")
    memmon.posix = None  # what would ask the system fails
    assert memmon.signal_process(process, signal.SIGTERM) is False


@pytest.mark.parametrize(
    "text, width, shown",
    [
        ("plain", 0, "plain"),
        ("a\nb\tc\x1b[31m", 0, "a\\nb\\tc\\x1b[31m"),
        ("\u202e\x85\udcff\u2028", 0, "\\u202e\\x85\\udcff\\u2028"),
        ("caf\u00e9 \u4e2d", 0, "caf\u00e9 \u4e2d"),
        ("0123456789", 8, "01234..."),
        ("0123456789", 10, "0123456789"),
    ],
)
def test_what_is_shown_is_one_harmless_line(memmon: ModuleType, text: str, width: int, shown: str) -> None:
    assert memmon.printable(text, width) == shown


REUSE = """
import os, subprocess, sys, importlib.util
spec = importlib.util.spec_from_file_location("m", sys.argv[1])
m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)
first = subprocess.Popen(["sleep", "60"])
seen = m.read_process(first.pid)
first.kill(); first.wait()
with open("/proc/sys/kernel/ns_last_pid", "w") as stream:
    stream.write(str(first.pid - 1))
import time
time.sleep(0.02)
innocent = os.fork()
if not innocent:
    os.execv("/bin/sleep", ["sleep", "60"])
print(innocent == first.pid, m.signal_process(seen, 9), os.waitpid(innocent, os.WNOHANG))
os.kill(innocent, 9)
"""


@pytest.mark.skipif(not LINUX, reason="PID namespaces")
def test_a_reused_pid_is_not_signalled(project: Project) -> None:
    unshare = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE).returncode:
        pytest.skip("no PID namespace to be had")
    python = [sys.executable, "-B", "-c", REUSE, str(PRODUCT_DIRECTORY / "memmon.py")]
    result = project.run([*unshare, *python])
    assert result.stdout.decode() == "True False (0, 0)\n", result.stderr.decode()


def test_a_size_is_megabytes_or_has_a_suffix_and_junk_is_named(memmon: ModuleType) -> None:
    for text, megabytes in ("100", 100), ("100M", 100), ("1.5g", 1536), ("2048K", 2), ("1e3", 1000):
        assert memmon.parse_size(text) == megabytes << 20, text
    for text in ("-5", "abc", "1e20", "1_0", "\u0663", "nan", "2X", "x", "", "0x0", "two", "1 2"):
        with pytest.raises(ValueError, match="not a size.*or 0 for no limit"):
            memmon.parse_size(text)


def test_the_defaults_are_those_of_the_readme(memmon: ModuleType) -> None:
    options = memmon.Options()
    assert options.interval == float(default("CHECK_INTERVAL"))
    assert options.limit == float(default("MEMORY_LIMIT_MB")) * (1 << 20)
    assert options.grace == float(default("SEQEXEC_GRACE"))
