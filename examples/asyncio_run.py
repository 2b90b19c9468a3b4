"""Runs several containers of one bundle at once, and waits for each through its pidfd.

Its config must not name a cgroupsPath, as each container needs its own; by default that is made of the id.

usage: asyncio_run.py BUNDLE [COUNT [ROOT]]
"""

from __future__ import annotations

import asyncio
import os
import sys

from pyoci import PIPE, Container, Runtime


async def ended(container: Container) -> int:
    """Wait for a container; its exit status."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()

    def ready() -> None:
        loop.remove_reader(container)
        future.set_result(container.wait(0))

    loop.add_reader(container, ready)  # a container is a file: its pidfd, readable once it has ended
    try:
        return await future
    finally:
        loop.remove_reader(container)  # when cancelled


def create_and_start(runtime: Runtime, id: str, bundle: str) -> Container:
    container = runtime.create(id, bundle, stdout=PIPE)
    try:
        container.start()
    except BaseException:
        container.delete(force=True)
        raise
    return container


async def run(runtime: Runtime, id: str, bundle: str) -> None:
    # some milliseconds each, in threads: the loop stays free, and they go on side by side
    with await asyncio.to_thread(create_and_start, runtime, id, bundle) as container:
        assert container.stdout is not None
        output, code = await asyncio.gather(asyncio.to_thread(container.stdout.read), ended(container))
        print(f"{id}: exit status {code}, {len(output)} bytes of output")


async def main(bundle: str, count: int, root: str | None) -> None:
    with Runtime(root) as runtime:
        await asyncio.gather(*(run(runtime, f"example-{os.getpid()}-{i}", bundle) for i in range(count)))


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    asyncio.run(
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4, sys.argv[3] if len(sys.argv) > 3 else None)
    )
