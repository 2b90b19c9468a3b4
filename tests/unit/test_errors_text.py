"""The text of errors: what · where · why · what to do, on one printable line."""

import pytest

from pyoci import errors
from pyoci.errors import HookError, KernelError, OCIError, UsageError


def test_parts_stand_in_order_and_absent_ones_leave_no_gap():
    assert str(OCIError("w", where="x", why="y", todo="z")) == "w · x · y · z"
    assert str(OCIError("w", todo="z")) == "w · z"
    assert str(OCIError("w")) == "w"


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[31mb", "a\rb", "a\0b", "a\u202eb", "a\x7fb", "a\u2028b", "a\ud800b"])
def test_hostile_text_stays_on_one_line_without_escapes(text):
    shown = str(KernelError("cannot open", why=text))
    assert shown.isprintable() and len(shown.splitlines()) == 1
    assert "\\x" in shown
    shown.encode("utf-8")


def test_printable_text_of_any_script_is_kept():
    assert str(OCIError("datei ä 文件 😀")) == "datei ä 文件 😀"


def test_exit_status_is_one_unless_said_otherwise():
    assert (OCIError("x").code, UsageError("x").code, OCIError("x", code=255).code) == (1, 1, 255)
    assert OCIError("x").code == 1  # a code given to one error is its own


def test_kernel_error_keeps_the_errno():
    assert KernelError("x", errno=13).errno == 13


def test_all_errors_are_of_one_family():
    found = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
    assert HookError in found and all(issubclass(c, OCIError) for c in found)
