"""Host memory and process trees, of this machine and of made-up ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from desktop.hardware import host

pytestmark = pytest.mark.skipif(not host.PROC.joinpath("meminfo").exists(), reason="needs Linux's /proc")

GRANDCHILD = "import time; time.sleep(60)"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GRANDCHILD!r}])"


@pytest.fixture
def family():
    """A child process that has a child of its own; yields the child."""
    child = subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True)
    deadline = time.monotonic() + 20
    while len(host.process_tree(child.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    yield child
    os.killpg(child.pid, 9)
    child.wait()


def test_host_memory_adds_up():
    reading = host.read_host()
    assert reading.total > 0
    assert reading.used + reading.available == reading.total
    assert reading.engine_bytes == 0


def test_this_process_is_resident():
    assert host.read_host([os.getpid()]).engine_bytes > 2**20
    assert host.process_name(os.getpid()) != ""


def test_a_tree_has_all_generations(family):
    tree = host.process_tree(family.pid)
    assert family.pid in tree
    assert len(tree) == 2
    assert tree < host.process_tree(os.getpid())
    assert host.resident_bytes(tree) > host.resident_bytes([family.pid])


def test_both_ways_to_find_a_tree_agree(family):
    assert host._tree_by_parents(family.pid, host.PROC) == host.process_tree(family.pid)


def test_without_lists_of_children_the_parents_are_asked(tmp_path):
    for pid, parent, name in ((10, 1, "engine"), (11, 10, "a ) b (c"), (12, 11, "x"), (20, 1, "other")):
        (tmp_path / str(pid) / "task" / str(pid)).mkdir(parents=True)
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
    assert host.process_tree(10, tmp_path) == {10, 11, 12}


def test_what_is_gone_counts_nothing(tmp_path):
    assert host.process_tree(99, tmp_path) == frozenset()
    assert host.resident_bytes([99], tmp_path) == 0
    assert host.process_name(99, tmp_path) == ""


@pytest.mark.parametrize("text", ["", "MemTotal:\n", "MemTotal: x kB\n"])
def test_a_system_that_does_not_tell(tmp_path, text):
    (tmp_path / "meminfo").write_text(text)
    assert host.read_host(proc=tmp_path).total == 0
    assert host.read_host(proc=tmp_path / "none").total == 0


def test_old_kernels_have_no_available_figure(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemFree: 40 kB\nBuffers: 1 kB\n")
    reading = host.read_host(proc=tmp_path)
    assert (reading.total, reading.used, reading.available) == (102400, 61440, 40960)
