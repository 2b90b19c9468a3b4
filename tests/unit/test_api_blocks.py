"""Which containers the end of a `with` block of a runtime deletes: those that were created in it, and no other."""

from __future__ import annotations

import threading

import pytest

from pyoci.blocks import Blocks


class Made:
    def __init__(self, blocks, error=None):
        self.blocks, self.error = blocks, error
        self.deleted = 0
        blocks.add(self)

    def __exit__(self, *_):
        self.deleted += 1
        if self.error:
            raise self.error
        self.blocks.forget(self)


@pytest.fixture
def blocks():
    return Blocks()


def test_an_inner_block_deletes_what_is_its_own(blocks):
    before = Made(blocks)
    blocks.begin()
    outer = Made(blocks)
    blocks.begin()
    inner = Made(blocks)
    blocks.end()
    assert (outer.deleted, inner.deleted) == (0, 1)
    later = Made(blocks)
    blocks.end()
    assert [each.deleted for each in (before, outer, inner, later)] == [0, 1, 1, 1]


def test_blocks_of_threads_are_their_own(blocks):
    mine, theirs = [], []
    inside, over = threading.Event(), threading.Event()

    def other():
        blocks.begin()
        theirs.append(Made(blocks))
        inside.set()
        over.wait(20)
        blocks.end()

    blocks.begin()
    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(20)
    mine.append(Made(blocks))
    blocks.end()
    assert mine[0].deleted == 1 and theirs[0].deleted == 0
    over.set()
    thread.join()
    assert theirs[0].deleted == 1


def test_a_thread_without_a_block_creates_in_that_of_another(blocks):
    made = []
    blocks.begin()
    thread = threading.Thread(target=lambda: made.append(Made(blocks)))
    thread.start()
    thread.join()
    blocks.end()
    assert made[0].deleted == 1


def test_what_was_deleted_before_is_not_again(blocks):
    blocks.begin()
    gone = Made(blocks)
    gone.__exit__()
    blocks.end()
    assert gone.deleted == 1


@pytest.mark.parametrize("error", [OSError("x"), ValueError("x")])
def test_an_error_keeps_no_other_from_being_deleted(blocks, error):
    blocks.begin()
    made = [Made(blocks, error), Made(blocks)]
    with pytest.raises(type(error)):
        blocks.end()
    assert [each.deleted for each in made] == [1, 1]
    blocks.begin()
    made = [Made(blocks, error), Made(blocks, error), Made(blocks)]
    with pytest.raises(ExceptionGroup) as caught:
        blocks.end()
    assert [each.deleted for each in made] == [1, 1, 1] and len(caught.value.exceptions) == 2


def test_the_third_interrupt_ends_it(blocks):
    blocks.begin()
    made = [Made(blocks, KeyboardInterrupt()), Made(blocks)]
    with pytest.raises(KeyboardInterrupt):
        blocks.end()
    assert [each.deleted for each in made] == [3, 0]
