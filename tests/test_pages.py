# SPDX-License-Identifier: MIT
"""What README.md and docs/ say is so: tables, links, contents, sizes, and what the tools are shown to print."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any, Callable

import pytest
from pages import EXAMPLES, PAGES, README, SHOWN, anchors, read_path, rows, section, table
from support import (
    LINUX,
    PRODUCT,
    PRODUCT_DIRECTORY,
    ROOT,
    Project,
    Tool,
    ended,
    finish,
    read_line,
    settle,
    shell,
    wait_until,
)

sys.path.append(str(ROOT / "tests" / "prove"))
import interleave
import prove_interleavings
import prove_mutants

MANUAL = "docs/manual.md"
SOURCE = {name: (PRODUCT_DIRECTORY / name).read_text(encoding="utf-8") for name in PRODUCT}
PROVOKED: set[str] = set()


def head_of(name: str) -> str:
    """Return the comment at a file's top, which --help prints but for its last part, the protocol."""
    return SOURCE[name].partition("\n\n")[0]


# ---- form ----------------------------------------------------------------------------------------------------


def test_the_readme_is_read_in_some_minutes() -> None:
    assert len(README.encode()) <= 14_000


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_an_example_or_something_shown(page: str) -> None:
    marked = re.findall(r"^<!-- (?:example|shown): \S+ -->\n```", PAGES[page], re.MULTILINE)
    assert len(re.findall(r"^```", PAGES[page], re.MULTILINE)) == 2 * len(marked)


def test_no_two_blocks_have_one_name() -> None:
    assert sum(text.count("\n<!-- example: ") for text in PAGES.values()) == len(EXAMPLES)
    assert sum(text.count("\n<!-- shown: ") for text in PAGES.values()) == len(SHOWN)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        name, _, anchor = link.partition("#")
        if "://" in name:
            continue
        assert read_path(page, name).exists() if name else True, link
        target = str(read_path(page, name).resolve().relative_to(ROOT)) if name else page
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_many_parts_lists_them(page: str) -> None:
    heads = re.findall(r"^## (.*)$", PAGES[page], re.MULTILINE)
    listed = re.findall(r"\[([^\]]+)\]\(#", PAGES[page].partition("\n## ")[0])
    assert listed == heads or len(heads) < 4


# ---- tables --------------------------------------------------------------------------------------------------


def test_the_table_names_every_variable_and_no_other() -> None:
    names = [name for row in rows(section("Environment")) for name in re.findall(r"`([A-Z_]{4,})`", row[0])]
    used: set[str] = set()
    for text in SOURCE.values():
        used |= set(re.findall(r"""setting\(['"]((?:SEQEXEC_)?[A-Z_]+)['"]""", text))
        used |= set(re.findall(r"""b['"](SEQEXEC_[A-Z_]+)['"]""", text))
    internal = {"SEQEXEC_RUN", "SEQEXEC_GIT", "GIT_DIR", "TERM", "MAKEFLAGS", "MAKE", "PATH", "LC_CTYPE", "PWD", "CI"}
    assert used - internal - set(names) == set()
    assert len(names) == len(set(names)) > 15
    words = {word for text in SOURCE.values() for word in re.findall(r"[A-Z][A-Z_]+", text.partition('"""')[2])}
    assert [name for name in names if name not in words and name.replace("SEQEXEC_", "", 1) not in words] == []


@pytest.mark.parametrize("name", PRODUCT)
def test_the_manual_and_the_head_list_the_same_options(name: str) -> None:
    cells = " ".join(row[0] for row in table("`%s`" % name, MANUAL))
    cells += " ".join(row[1] for row in table("`%s`" % name, MANUAL) if "for programs" in row[1])
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", cells))
    usage = head_of(name).partition("\n#\n# The protocol")[0].partition("\n#\n# Plain make")[0]
    in_head = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", usage))
    if name == "make_sequential.py":
        in_head = {option for option in in_head if option.startswith("--seq-")}
    assert in_head - {"--version", "--help"} == options - {"--version", "--help"}


def test_an_option_that_a_page_names_exists() -> None:
    known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "".join(head_of(name) for name in PRODUCT)))
    known |= {"--seq-", "--seq-json", "--metric", "--log", "--warn", "--retry"}  # gone
    known |= {"--every", "--get", "--auto", "--init"}  # of a test's program, of git, of docker
    for page, text in PAGES.items():
        for code in re.findall(r"`[^`\n]+`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)) - known == set(), (page, code)


@pytest.mark.parametrize("name", PRODUCT)
def test_the_head_names_every_variable_that_the_file_reads(name: str) -> None:
    listed = {name for row in rows(section("Environment")) for name in re.findall(r"`([A-Z_]{4,})`", row[0])}
    read = set(re.findall(r"""['"]([A-Z_]{4,})['"]""", SOURCE[name])) & listed
    assert {variable for variable in read if variable.replace("SEQEXEC_", "", 1) not in head_of(name)} == set()


def test_the_tables_of_json_have_the_keys_that_are_printed(project: Project) -> None:
    def keys(heading: str, start: int) -> set[str]:
        tables = section(heading, MANUAL).split("\n| key |")[1:]
        return {name for row in rows(tables[start].partition("\n\n")[0]) for name in re.findall("`(.*?)`", row[0])}

    holder = project.start([project.seqexec, *shell("echo ready; read line")])
    read_line(holder)
    seen = json.loads(project.run([project.seqexec, "--status", "--json"]).stdout)
    assert set(seen) - {"scope"} == keys("JSON", 0)
    assert set(seen["holder"]) == keys("JSON", 1)
    finish(holder)
    runs = json.loads(project.run([project.seqexec, "--history", "--json"]).stdout)
    assert set(runs[-1]) == keys("JSON", 2)
    project.run([str(project.tools / "memmon.py"), "--report", "report", "--", "true"])
    assert set(json.loads((project.path / "report").read_text())) == keys("Memory", 0)


def test_the_figures_of_the_estimate_are_those_that_its_benchmark_prints() -> None:
    command = [sys.executable, str(ROOT / "tests" / "bench" / "bench_estimate.py"), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = {each["name"]: each["value"] for each in map(json.loads, done.stdout.splitlines())}
    shown = [float(row[1].split()[0]) for row in rows(section("The estimate", MANUAL)) if row[0]]
    names = ["with a wait of 1 s or more", "with an estimate", "median error", "nine in ten within", "worst error"]
    assert shown == pytest.approx([found[name] for name in names], abs=0.51)
    assert "asks at {:,} moments".format(found["moments"]) in PAGES[MANUAL].replace("\n", " ")


def test_kept_places_have_the_same_figures_on_both_pages() -> None:
    text = README.partition("**Kept places:**")[2].partition("\n\n")[0]
    page = {row[0]: row[1:] for row in rows(section("A waiter that comes back", "docs/background.md"))}
    for name, form in ("commands that ran", r"\b%s\b"), ("worst wait", r"\b%s s\b"):
        for cell in page[name]:
            assert re.search(form % round(float(cell.split()[0])), text), (name, cell)
    assert page["agents that starved"] == ["0 of 40", "20 of 40"]
    assert "no agent starved" in text and "20 of 40 starved" in text


def test_the_proofs_are_as_many_as_the_readme_says() -> None:
    least = [int(number) for number in re.findall(r"more than (\d+)", section("Why you can believe it"))]
    proofs = interleave.SCENARIOS, prove_interleavings.MUTANTS, prove_mutants.MUTANTS
    assert [len(proof) > number for proof, number in zip(proofs, least)] == [True] * 3


@pytest.mark.parametrize("name", PRODUCT)
def test_help_fits_on_a_screen_and_a_half_and_has_examples(name: str, project: Project) -> None:
    option = "--seq-help" if name == "make_sequential.py" else "--help"
    result = project.run([str(project.tools / name), option])
    lines = result.stdout.decode().splitlines()
    assert (result.returncode, result.stderr) == (0, b"")
    assert len(lines) <= 60
    guard = EXAMPLES["guard"].splitlines()  # lines of a Makefile, to be pasted as they are
    assert [line for line in lines if len(line) > 80 and line.strip() not in guard] == []
    assert "Example" in result.stdout.decode()
    too_wide = [line for line in head_of(name).splitlines() if len(line) > 80 and line[4:] not in guard]
    assert too_wide == []


# ---- what the tools are shown to print -----------------------------------------------------------------------


def provokes(*names: str) -> Callable[[Any], Any]:
    """Mark a test as the one of these blocks; it needs /proc to see that a command waits."""
    PROVOKED.update(names)
    return pytest.mark.skipif(not LINUX, reason="needs /proc to see what waits")


def test_everything_shown_is_provoked() -> None:
    assert set(SHOWN) == PROVOKED


def plain(text: str) -> list[str]:
    """Return the lines of an output without what differs from run to run: numbers, widths, estimates."""
    lines = [line for line in text.splitlines() if not line.startswith("$ ")]
    lines = [re.sub(r"\d+ (min|h) \d", "0", re.sub(r"; about [^;]*$", "", line)) for line in lines]
    return [" ".join(re.sub(r"\d[\d.:]*", "0", line).split()) for line in lines]


MAKEFILE = "test:\n\t@echo ready; sleep %s\n"


@pytest.fixture
def shop(project: Project) -> Project:
    (project.path / "Makefile").write_text(MAKEFILE % 60)
    return project


def start(project: Project, line: str, **more: Any) -> subprocess.Popen[bytes]:
    """Start a line in a shell of its own, so that what it starts is no sibling of ours."""
    environment = {"PATH": "%s:%s" % (project.tools, project.environment["PATH"])}
    return project.start(shell(line + "\n:"), set={**environment, **more})


@provokes("session-1", "session-2")
def test_two_terminals(project: Project, seqexec: Tool) -> None:
    text = EXAMPLES["makefile"].replace("$(CURDIR)", str(project.tools)).replace("sleep 5", "sleep 0.9")
    (project.path / "Makefile").write_text(text)
    first = start(project, "make test 2>&1")
    assert read_line(first) == "compiling"
    second = start(project, "make test 2>&1")
    assert ["compiling", *plain(finish(first, 30)[1].decode())] == plain(SHOWN["session-1"])
    assert plain(finish(second, 30)[1].decode()) == plain(SHOWN["session-2"])


@provokes("waiting")
def test_a_waiter_says_behind_what_and_when_it_gives_up(shop: Project) -> None:
    first = start(shop, "exec seqexec.py make test")
    assert read_line(first) == "ready"
    wait = re.search(r"--wait ([\d.]+)", SHOWN["waiting"]).group(1)  # type: ignore[union-attr]
    waiter = start(shop, "seqexec.py --wait %s true" % wait)
    assert plain(finish(waiter, 30)[2].decode()) == plain(SHOWN["waiting"])
    first.send_signal(signal.SIGTERM)
    ended(first)


@provokes("killed")
def test_the_next_one_says_what_was_left_of_a_killed_run(shop: Project, seqexec: Tool) -> None:
    first = start(shop, "exec seqexec.py make test")
    assert read_line(first) == "ready"
    first.kill()
    ended(first)
    assert plain(finish(start(shop, "seqexec.py true"), 30)[2].decode()) == plain(SHOWN["killed"])
    settle(shop, seqexec)


@provokes("timeout")
def test_a_time_limit_names_what_set_it(project: Project) -> None:
    limit = re.search(r"--timeout ([\d.]+)", SHOWN["timeout"]).group(1)  # type: ignore[union-attr]
    done = finish(start(project, "seqexec.py --timeout %s sleep 60" % limit), 30)
    assert plain(done[2].decode()) == plain(SHOWN["timeout"])


@provokes("status")
def test_the_status_looks_so(shop: Project) -> None:
    (shop.path / "Makefile").write_text("lint:\n" + MAKEFILE % 60)
    assert finish(start(shop, "seqexec.py make lint"), 30)[0] == 0
    first = start(shop, "exec seqexec.py make test")
    assert read_line(first) == "ready"
    started = [first]
    for position, command in enumerate(["make lint", "git commit -qam 'Round up'"], 1):
        started.append(start(shop, "exec seqexec.py " + command))
        row = b"waits %d" % position
        wait_until(lambda row=row: row in shop.run([shop.seqexec, "--status"]).stdout)  # type: ignore[misc]
    shown = shop.run([shop.seqexec, "--status"]).stdout.decode()
    shown = shown.replace(str(shop.path), "/home/me/shop")
    for process in reversed(started):
        process.terminate()
        ended(process)
    assert [words_of(line) for line in plain(shown)] == [words_of(line) for line in plain(SHOWN["status"])]


def words_of(row: str) -> list[str]:
    """Return a row's words without the user's name and without the memory, which a look may come too early for."""
    return re.sub(r"0 MB|(?<= )- ", "", re.sub(r"(PID 0) \S+", r"\1", row)).split()


@provokes("memory")
def test_the_memory_guard_says_so(project: Project) -> None:
    text = "import time\nheld = []\nwhile True:\n    held.append(bytearray(1 << 20))\n    time.sleep(0.015)\n"
    (project.path / "load.py").write_text(text)
    process = start(project, "exec seqexec.py python3 load.py", MEMORY_LIMIT_MB="100")
    said = finish(process, 60)[2].decode()
    assert plain(said) == plain(SHOWN["memory"])


@provokes("git")
def test_what_git_is_refused_for_is_in_the_source() -> None:
    """test_git.py provokes these lines; here it is seen that the words are the same."""
    source = re.sub(r'"\n\s+"', "", SOURCE["seqexec.py"])
    variable = re.compile(r"works in|old and|/\S+|\(.*?\)|git commit -m fix|[:;]|\d+ min \d+ s")
    for line in SHOWN["git"].splitlines():
        for part in variable.split(line.partition(": ")[2]):
            assert part.strip() in source, part
