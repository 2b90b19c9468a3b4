"""process: arguments, environment, working directory, ids, limits, no_new_privs, oom_score_adj."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE, Bundle, said
from tests.integration import machine

STATUS = "cat /proc/self/status"


def status(text: str, field: str) -> list[str]:
    """The words behind a field of /proc/PID/status."""
    return next(line for line in text.splitlines() if line.startswith(f"{field}:")).split()[1:]


def change(bundle: Bundle, **fields: Any) -> Bundle:
    bundle.config["process"] |= fields
    return bundle.save()


@pytest.mark.parametrize(
    "words", [["a b", "", "'\"$x\\", "ä\t\n文", "-n", "--"], ["x" * 100_000], [str(i) for i in range(500)]]
)
def test_arguments_come_as_they_are(bundle: Bundle, words: list[str]) -> None:
    bundle.args("sh", "-c", 'for a in "$@"; do busybox printf "%s\\0" "$a"; done', "name", *words)
    assert bundle.run().stdout.split("\0")[:-1] == words


def test_the_environment_is_the_configs_alone(bundle: Bundle) -> None:
    env = ["PATH=/bin", "HOME=/x", "A=1", "EMPTY=", "LONG=" + "y" * 50_000, "odd name.1=ä\n", "A=2", "no-equals-sign"]
    change(bundle, env=env).args("cat", "/proc/self/environ")
    result = bundle.run(env={**os.environ, "CANARY": "of the caller"})
    assert result.stdout.split("\0")[:-1] == env


PASSWD = "root:x:0:0:r:/root:/bin/sh\nbroken\n:::\nx:x:0x5:1::/hex:\nuser:x:1000:1000:a,b:/home/user:/bin/sh\n"
PASSWD += (
    "again:x:1000:1:::/other\nrelative:x:7:7::home:\nempty:x:8:8:::\nlong:x:9:9::/"
    + "h" * 5000
    + ":\nlast:x:10:10::/last:"
)


@pytest.mark.parametrize(
    ("uid", "home"),
    [(0, "/root"), (1000, "/home/user"), (5, "/"), (7, "/"), (8, "/"), (9, "/"), (10, "/last"), (4294967294, "/")],
)
def test_home_comes_from_the_image_when_the_config_has_none(bundle: Bundle, uid: int, home: str) -> None:
    (bundle.rootfs / "etc/passwd").write_text(PASSWD)
    change(bundle, user={"uid": uid, "gid": 0}).args("cat", "/proc/self/environ")
    assert bundle.run().stdout.split("\0") == ["PATH=/bin", "TERM=xterm", f"HOME={home}", ""]
    change(bundle, env=[])
    assert bundle.args("/bin/cat", "/proc/self/environ").run().stdout == f"HOME={home}\0"


@pytest.mark.parametrize("what", ["nothing", "folder", "fifo", "symlink to the host's", "magic link"])
def test_home_is_the_root_where_the_image_has_no_readable_passwd(bundle: Bundle, what: str) -> None:
    file = bundle.rootfs / "etc/passwd"
    file.unlink()
    if what == "folder":
        file.mkdir()
    elif what == "fifo":
        os.mkfifo(file)
    elif what != "nothing":
        (bundle.path / "passwd").write_text("r:x:0:0::/of-the-host:\n")
        file.symlink_to("../../passwd" if what == "symlink to the host's" else "/proc/self/fd/0")
    assert bundle.shown("echo $HOME") == "/\n"


def test_exec_gets_the_home_of_its_own_user(bundle: Bundle) -> None:
    (bundle.rootfs / "etc/passwd").write_text(PASSWD)
    bundle.running()
    result = bundle.command("exec", "--user", "1000", bundle.name, "sh", "-c", "echo $HOME")
    assert result.stdout == "/home/user\n"


@pytest.mark.parametrize("cwd", ["/", "/tmp", "/new/deep", "/tmp/../etc//.", "/link"])
def test_the_working_directory_is_entered_and_made_when_it_is_missing(bundle: Bundle, cwd: str) -> None:
    (bundle.rootfs / "link").symlink_to("/../tmp")
    change(bundle, cwd=cwd)
    seen = bundle.shown("busybox pwd -P; stat -c '%a %u' .")
    assert seen == f"{ {'/tmp/../etc//.': '/etc', '/link': '/tmp'}.get(cwd, cwd) }\n755 0\n"


def test_root_only_working_directory_is_entered_for_a_user(bundle: Bundle) -> None:
    (bundle.rootfs / "root").mkdir(mode=0o700)
    change(bundle, cwd="/root", user={"uid": 1000, "gid": 1000})
    assert bundle.shown("busybox pwd") == "/root\n"
    bundle.running()
    assert bundle.inside("busybox pwd") == "/root\n"


@pytest.mark.parametrize(
    ("cwd", "why"),
    [("/etc/passwd", "directory"), ("/proc/self/fd/0", "directory"), ("/proc/1/root", "ELOOP"), ("/loop", "ELOOP")],
)
def test_what_is_no_directory_of_the_image_is_refused(bundle: Bundle, cwd: str, why: str) -> None:
    (bundle.rootfs / "loop").symlink_to("loop")
    result = change(bundle, cwd=cwd).run()
    assert result.returncode == 1 and "process.cwd" in result.stderr and why in result.stderr


def test_ids_groups_and_umask(bundle: Bundle) -> None:
    user = {"uid": 1000, "gid": 2000, "additionalGids": [5, 4294967294, 6], "umask": 0o027}
    change(bundle, user=user)
    shown = bundle.sh(STATUS).run(preexec_fn=lambda: os.umask(0)).stdout
    assert status(shown, "Uid") == ["1000"] * 4 and status(shown, "Gid") == ["2000"] * 4
    assert sorted(status(shown, "Groups")) == ["4294967294", "5", "6"] and status(shown, "Umask") == ["0027"]


def test_the_umask_of_the_caller_reaches_a_process_without_one_its_groups_do_not(bundle: Bundle) -> None:
    def caller() -> None:
        os.setgroups([4, 27])
        os.umask(0o037)

    shown = bundle.sh(STATUS).run(preexec_fn=caller).stdout
    assert status(shown, "Groups") == [] and status(shown, "Umask") == ["0037"]


LIMITS = {
    "RLIMIT_CPU": (100, 200, "Max cpu time"),
    "RLIMIT_FSIZE": (1 << 30, 1 << 31, "Max file size"),
    "RLIMIT_DATA": (1 << 33, 1 << 34, "Max data size"),
    "RLIMIT_STACK": (1 << 22, (1 << 64) - 1, "Max stack size"),
    "RLIMIT_CORE": (0, 0, "Max core file size"),
    "RLIMIT_RSS": (1 << 40, 1 << 41, "Max resident set"),
    "RLIMIT_NPROC": (50, 60, "Max processes"),
    "RLIMIT_NOFILE": (77, 88, "Max open files"),
    "RLIMIT_MEMLOCK": (4096, 8192, "Max locked memory"),
    "RLIMIT_AS": (1 << 40, 1 << 41, "Max address space"),
    "RLIMIT_LOCKS": (10, 20, "Max file locks"),
    "RLIMIT_SIGPENDING": (9, 10, "Max pending signals"),
    "RLIMIT_MSGQUEUE": (8000, 9000, "Max msgqueue size"),
    "RLIMIT_NICE": (0, 0, "Max nice priority"),
    "RLIMIT_RTPRIO": (0, 0, "Max realtime priority"),
    "RLIMIT_RTTIME": (1000, 2000, "Max realtime timeout"),
}


def shown_limits(text: str) -> dict[str, tuple[str, str]]:
    """Name → (soft, hard), from /proc/PID/limits."""
    rows = text.splitlines()[1:]
    return {row[:26].strip(): (row[26:47].strip(), row[47:68].strip()) for row in rows}


def test_every_rlimit(bundle: Bundle) -> None:
    limits = [{"type": name, "soft": soft, "hard": hard} for name, (soft, hard, _) in LIMITS.items()]
    found = shown_limits(change(bundle, rlimits=limits).shown("cat /proc/self/limits"))
    words = {n: str(n) if n < (1 << 64) - 1 else "unlimited" for row in LIMITS.values() for n in row[:2]}
    assert {title: found[title] for *_, title in LIMITS.values()} == {
        title: (words[soft], words[hard]) for soft, hard, title in LIMITS.values()
    }
    bundle.running()
    assert shown_limits(bundle.inside("cat /proc/self/limits"))["Max open files"] == ("77", "88")


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_limit_too_small_for_the_program_to_begin_is_named(bundle: Bundle, verb: str) -> None:
    limits = [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}, {"type": "RLIMIT_AS", "soft": 4096, "hard": 4096}]
    if verb == "run":
        result = change(bundle, rlimits=limits).args("true").run()
    else:
        bundle.running()
        process = bundle.path / "process.json"
        process.write_text(json.dumps({**bundle.config["process"], "args": ["true"], "rlimits": limits}))
        result = bundle.command("exec", "--process", str(process), bundle.name)
    assert result.returncode != 0
    assert said(result) == (
        'exec: "/bin/true": cannot allocate memory (ENOMEM) · process.rlimits[1] · raise this limit'
        if verb == "run"
        else 'exec: "true": cannot allocate memory (ENOMEM) · process.rlimits[1] · raise this limit'
    )


@pytest.mark.parametrize(
    ("args", "env", "where", "why"),
    [
        (["true", "x", "y" * (1 << 17)], ["A=b"], "process.args[2]", "it has 131072 bytes"),
        (["true"], ["PATH=/bin", "X=" + "y" * (1 << 17)], "process.env[1]", "it has 131074 bytes"),
        (["true"] + ["y" * 100_000] * 40, ["PATH=/bin"], "process.args[0]", "together"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_one_string_that_is_too_long_is_told_from_too_much_of_them(
    bundle: Bundle, verb: str, args: list[str], env: list[str], where: str, why: str
) -> None:
    process = {**bundle.config["process"], "args": ["/bin/true", *args[1:]], "env": env}
    if verb == "run":
        bundle.config["process"] = process
        result = bundle.save().run()
    else:
        file = bundle.running().path / "process.json"
        file.write_text(json.dumps(process))
        result = bundle.command("exec", "--process", str(file), bundle.name)
    assert result.returncode != 0
    assert said(result).startswith(f'exec: "/bin/true": argument list too long (E2BIG) · {where} · {why}')


def test_a_limit_above_the_callers_is_refused_with_its_place(bundle: Bundle) -> None:
    def lower() -> None:
        machine.drop("CAP_SYS_RESOURCE")
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500))

    change(
        bundle,
        rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}, {"type": "RLIMIT_NOFILE", "soft": 501, "hard": 501}],
    )
    result = bundle.run(preexec_fn=lower)
    assert result.returncode == 1 and "process.rlimits[1]" in result.stderr and "CAP_SYS_RESOURCE" in result.stderr


@pytest.mark.parametrize("on", [True, False])
def test_no_new_privileges(bundle: Bundle, on: bool) -> None:
    change(bundle, noNewPrivileges=on)
    assert status(bundle.shown(STATUS), "NoNewPrivs") == [str(int(on))]
    bundle.running()
    assert status(bundle.inside(STATUS), "NoNewPrivs") == [str(int(on))]
    told = bundle.command("exec", "--no-new-privs", bundle.name, "sh", "-c", STATUS)
    assert status(told.stdout, "NoNewPrivs") == ["1"]


@pytest.mark.parametrize(("on", "effective"), [(True, "1000"), (False, "0")])
def test_a_setuid_program_gains_nothing_with_no_new_privileges(bundle: Bundle, on: bool, effective: str) -> None:
    text = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { return printf("%u", geteuid()) < 0; }\n'
    machine.compiled(text, bundle.rootfs / "bin/show-euid").chmod(0o4755)
    change(bundle, noNewPrivileges=on, user={"uid": 1000, "gid": 1000})
    assert bundle.args("show-euid").run().stdout == effective


@pytest.mark.parametrize("value", [500, 1000, None])
def test_oom_score_adj(bundle: Bundle, value: int | None) -> None:
    own = Path("/proc/self/oom_score_adj").read_text()
    if value is not None:
        change(bundle, oomScoreAdj=value)
    assert bundle.shown("cat /proc/self/oom_score_adj") == (own if value is None else f"{value}\n")
    bundle.running()
    assert bundle.inside("cat /proc/self/oom_score_adj") == (own if value is None else f"{value}\n")


def test_oom_score_adj_below_the_callers_is_refused_with_its_place(bundle: Bundle) -> None:
    change(bundle, oomScoreAdj=-999)
    result = bundle.run(preexec_fn=lambda: machine.drop("CAP_SYS_RESOURCE"))
    assert result.returncode == 1 and "process.oomScoreAdj" in result.stderr and "CAP_SYS_RESOURCE" in result.stderr


def test_pipes_and_sockets_of_a_user_become_its_own_and_files_do_not(bundle: Bundle) -> None:
    change(bundle, user={"uid": 1000, "gid": 1000})
    bundle.sh("echo through >/dev/stdout; exec 5>&2; (: >>/dev/fd/5) 2>/dev/null || echo not mine")
    with open(bundle.path / "file", "w") as file:
        result = bundle.run(capture_output=False, stdout=subprocess.PIPE, stderr=file)
    assert result.stdout == "through\nnot mine\n"
    assert (bundle.path / "file").stat().st_uid == 0
    assert os.stat("/dev/null").st_uid == 0


def test_the_process_leads_a_session_of_its_own_and_no_signal_is_held(bundle: Bundle) -> None:
    shown = bundle.shown(STATUS + "; busybox cut -d' ' -f1,5,6 /proc/1/stat")
    assert shown.splitlines()[-1] == "1 1 1"
    assert {status(shown, name)[0] for name in ("SigBlk", "SigIgn")} == {"0" * 16}


@pytest.mark.parametrize(("soft", "hard"), [(3, 3), (3, 64), (8, 1024)])
def test_a_small_limit_of_open_files_is_the_programs_and_not_inits(bundle: Bundle, soft: int, hard: int) -> None:
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]
    assert bundle.shown("ulimit -Sn; ulimit -Hn") == f"{soft}\n{hard}\n"
    assert bundle.running().inside("ulimit -Sn; ulimit -Hn") == f"{soft}\n{hard}\n"


def test_start_tells_of_an_init_that_has_ended_at_its_gate(bundle: Bundle) -> None:
    assert bundle.sh("true").create().returncode == 0
    os.kill(bundle.pid(), signal.SIGSTOP)
    with subprocess.Popen(bundle.argv("start", bundle.name), stderr=subprocess.PIPE, text=True) as starting:
        time.sleep(0.5 * PATIENCE)  # it is connected
        os.kill(bundle.pid(), signal.SIGKILL)
        _, text = starting.communicate(timeout=20 * PATIENCE)
    assert starting.returncode == 1 and "has ended at the start gate" in said(text)
