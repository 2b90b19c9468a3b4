"""Paths as they are found: what was removed has none."""

import os
import subprocess

import pytest

from pyoci import paths
from pyoci.errors import OCIError
from tests.conftest import runtime_path


@pytest.fixture
def removed(tmp_path, monkeypatch):
    """The current folder, which is gone."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    yield folder
    os.chdir(tmp_path)


def test_a_removed_folder_has_no_path(removed):
    with pytest.raises(FileNotFoundError):
        paths.real(".")
    with pytest.raises(OCIError, match="the current folder cannot be told") as caught:
        paths.absolute("x")
    assert caught.value.where == "x" and "was it removed?" in caught.value.why


def test_a_folder_may_be_named_as_if_it_were_removed(tmp_path):
    odd = tmp_path / "x (deleted)"
    odd.mkdir()
    assert paths.real(str(odd)) == str(odd)


@pytest.mark.parametrize("words", [["--root", "r", "list"], ["--root", "/no/such", "run", "c1"]])
def test_the_command_says_that_its_folder_is_gone(removed, words):
    done = subprocess.run([runtime_path(), *words], capture_output=True, text=True)
    assert done.returncode == 1 and "the current folder cannot be told" in done.stderr
    assert "(deleted)" not in done.stderr and "system call" not in done.stderr
