"""A program that is at its limit of open files (EMFILE): every error is an OCIError, and nothing is left."""

from __future__ import annotations

from tests.conftest import Bundles, snapshot
from tests.integration.test_api_host import run_program

LIMITS = """
    import os, resource
    from pyoci import DEVNULL, OCIError, Runtime

    def first_free():
        fd = os.open("/dev/null", os.O_RDONLY)
        os.close(fd)
        return fd

    def under_limits(step):
        '''With room for no file, one, two and so on, until there is enough.'''
        errors = []
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        for room in range(100):
            resource.setrlimit(resource.RLIMIT_NOFILE, (first_free() + room, hard))
            try:
                step()
                return errors
            except OCIError as e:
                errors.append(e)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            assert "delete --force" not in errors[-1].todo, errors[-1]
            after()
"""


def test_create_leaves_nothing(bundles: Bundles) -> None:
    bundle = bundles().args("sleep", "100")
    before = snapshot(bundles)
    text = """
    runtime = Runtime(sys.argv[1], cgroup_manager=MANAGER)
    for each in (1, 2):
        made = []
        def after():
            assert not os.path.exists(sys.argv[1]) or os.listdir(sys.argv[1]) == [], os.listdir(sys.argv[1])
        errors = under_limits(lambda: made.append(runtime.create(sys.argv[2], sys.argv[3])))
        assert len(errors) > 5
        made.pop().__exit__()
    """
    done = run_program(LIMITS + text, bundles.root, bundle.name, bundle.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(bundles) == before


def test_steps_on_a_container(bundles: Bundles) -> None:
    bundle = bundles().args("sleep", "100")
    text = """
    runtime = Runtime(sys.argv[1], cgroup_manager=MANAGER)
    def after():
        assert container.status == "running"
    def exec():
        with container.exec(["true"]) as process:
            process.wait(20)
    with runtime.create(sys.argv[2], sys.argv[3], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL) as container:
        container.start()
        for step in (
            lambda: container.status,
            lambda: container.state,
            lambda: container.poll(),
            container.stats,
            container.pids,
            lambda: container.update({"pids": {"limit": 100}}),
            lambda: runtime.get(container.id),
            runtime.list,
            lambda: [each.fileno() for each in runtime.list()],
            exec,
        ):
            under_limits(step)
            after()
    """
    done = run_program(LIMITS + text, bundles.root, bundle.name, bundle.path)
    assert (done.returncode, done.stderr) == (0, "")
