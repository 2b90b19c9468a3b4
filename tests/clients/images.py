"""Images without a registry: a root filesystem of one static busybox, and the same as an OCI layout."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

IMAGE = "localhost/pyoci-busybox:latest"
APPLETS = (
    "sh cat echo id ls mount ps sleep true false env hostname stat test stty tty grep dd kill touch rm mkdir chmod "
    "date head nproc tail wc cut readlink df sed awk ip mknod umask top printf pwd chown sort uniq tr cmp nc"
)
FILES = {
    "etc/passwd": "root:x:0:0::/:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nguest:x:1000:\nextra:x:2000:guest\n",
}


def write_rootfs(path: Path) -> None:
    """A root filesystem archive."""
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "etc", "tmp", "dev", "proc", "sys", "mnt", "run", "var", "var/tmp"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
            tar.addfile(info)
        tar.add(os.path.realpath(shutil.which("busybox") or ""), "bin/busybox")
        for applet in APPLETS.split():
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        link = tarfile.TarInfo("var/run")
        link.type, link.linkname = tarfile.SYMTYPE, "/run"  # as most images have it
        tar.addfile(link)
        for name, text in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))


def write_oci_layout(path: Path, rootfs: Path, name: str = IMAGE, program: tuple[str, ...] = ("sh",)) -> None:
    """An OCI image layout archive of a root filesystem, for ctr."""
    blobs: dict[str, bytes] = {}

    def put(data: bytes, media: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(data)}

    layer = put(rootfs.read_bytes(), "layer.v1.tar")
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": program},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [layer],
    }
    entry = put(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "latest"}
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()},
    }
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
