"""linux.maskedPaths and linux.readonlyPaths."""

from __future__ import annotations

import pytest

from tests.conftest import Bundle
from tests.integration import machine

INFO = "cat /proc/self/mountinfo"
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def paths(bundle: Bundle, **lists: list[str]) -> Bundle:
    bundle.config["linux"] |= lists
    (bundle.rootfs / "secret").mkdir()
    (bundle.rootfs / "secret/file").write_text("hidden")
    (bundle.rootfs / "link").symlink_to("secret/file")
    return bundle


@pytest.mark.parametrize("users", [False, True], ids=["root", "user-namespace"])
def test_masked_files_are_empty_and_masked_folders_too(bundle: Bundle, users: bool) -> None:
    if users:
        bundle.config["linux"]["namespaces"].append({"type": "user"})
        bundle.config["linux"] |= {"uidMappings": MAP, "gidMappings": MAP}
    masked = ["/etc/passwd", "/secret", "/proc/kcore", "/proc/timer_list", "/sys/firmware", "/proc/acpi"]
    shown = paths(bundle, maskedPaths=masked).shown(
        "cat /etc/passwd /proc/timer_list; ls -a /secret; ls /sys/firmware; "
        "touch /secret/new 2>/dev/null || echo refused; stat -c '%F %t:%T' /etc/passwd; " + INFO
    )
    listed, info = shown[: shown.index("character")], shown[shown.index("character") :]
    assert listed.split() == [".", "..", "refused"]
    first, *lines = info.splitlines()
    assert first == "character special file 1:3"
    found = machine.mounts("\n".join(lines))
    assert found["/secret"].fstype == "tmpfs" and "ro" in found["/secret"].options
    if "/sys/firmware" in found:  # both folders show the same empty filesystem
        assert found["/sys/firmware"].device == found["/secret"].device


def test_read_only_files_and_folders(bundle: Bundle) -> None:
    bundle.config["mounts"].append({"destination": "/secret/below", "type": "tmpfs", "source": "t"})
    paths(bundle, readonlyPaths=["/etc/passwd", "/secret", "/proc/sys", "/sys"])
    script = (
        "for f in /etc/passwd /secret/new /secret/below/new /proc/sys/kernel/hostname; do "
        "(: 2>/dev/null >>$f) 2>/dev/null && echo wrote $f; done; touch /etc/other; cat /etc/passwd; " + INFO
    )
    shown = bundle.shown(script)
    assert "wrote" not in shown and "root:x:0" in shown and (bundle.rootfs / "etc/other").exists()
    found = machine.mounts("\n".join(line for line in shown.splitlines() if " - " in line))
    for place in ("/etc/passwd", "/secret", "/secret/below", "/proc/sys"):
        assert "ro" in found[place].options


def test_flags_of_what_is_made_read_only_stay(bundle: Bundle) -> None:
    options = ["nosuid", "nodev", "noexec", "noatime"]
    bundle.config["mounts"].append({"destination": "/t", "type": "tmpfs", "source": "t", "options": options})
    found = machine.mounts(paths(bundle, readonlyPaths=["/t"]).shown(INFO))
    assert {"ro", *options} <= found["/t"].options


def test_a_path_that_the_image_lacks_is_passed_over(bundle: Bundle) -> None:
    gone = ["/no/such", "/etc/passwd/below-a-file", "/proc/no-such-file"]
    assert paths(bundle, maskedPaths=gone, readonlyPaths=gone).shown("ls -d /no 2>/dev/null || echo none") == "none\n"


def test_a_symlink_leads_inside_the_root(bundle: Bundle) -> None:
    paths(bundle, maskedPaths=["/link", "/out"], readonlyPaths=["/out-too"])
    (bundle.rootfs / "out").symlink_to("/../../../etc/passwd")
    (bundle.rootfs / "out-too").symlink_to("/tmp")
    shown = bundle.shown("cat /secret/file /etc/passwd; touch /tmp/x 2>/dev/null || echo refused")
    assert shown == "refused\n"


def test_masks_hold_for_exec_and_cannot_be_taken_away(bundle: Bundle) -> None:
    bundle.config["process"]["capabilities"] = {}
    paths(bundle, maskedPaths=["/secret"]).running()
    assert bundle.inside("ls /secret; busybox umount /secret 2>/dev/null || echo refused") == "refused\n"


def test_many_masks_take_one_filesystem(bundle: Bundle) -> None:
    folders = [f"/many/{i}" for i in range(50)]
    for folder in folders:
        (bundle.rootfs / folder[1:]).mkdir(parents=True)
    found = machine.mounts(paths(bundle, maskedPaths=folders).shown(INFO))
    assert len({found[folder].device for folder in folders}) == 1
