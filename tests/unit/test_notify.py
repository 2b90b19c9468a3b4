"""What NOTIFY_SOCKET adds to a config."""

import copy

from pyoci.lifecycle.notify import amend
from pyoci.spec.reader import Obj
from tests.unit.plan_helpers import config


def test_the_folder_is_mounted_last_and_the_process_is_told():
    data = config(mounts=[{"destination": "/run", "type": "tmpfs"}], process={"env": ["A=b"]})
    before = copy.deepcopy(data)
    found = amend(Obj(data, ""), "/run/pyoci", "c1").data
    assert data == before
    assert found["mounts"][:-1] == before["mounts"]
    mount = found["mounts"][-1]
    assert (mount["source"], mount["destination"]) == ("/run/pyoci/c1/notify", "/run/notify")
    assert {"bind", "ro", "nosuid", "nodev", "noexec"} == set(mount["options"])
    assert found["process"]["env"] == [*before["process"]["env"], "NOTIFY_SOCKET=/run/notify/notify.sock"]


def test_a_config_that_is_wrong_stays_so_for_the_compiler_to_say():
    for wrong in ({"mounts": "x"}, {"process": 3}, {"process": {"env": "A=b"}}, {}):
        found = amend(Obj(dict(wrong), ""), "/r", "c1").data
        for key, value in wrong.items():
            assert found[key] == value
