"""The sections of runtime-spec that the suite covers: anchor, document, heading."""

from __future__ import annotations

import re

VERSION = "1.3.0"
BASE = f"https://github.com/opencontainers/runtime-spec/blob/v{VERSION}"

_RUNTIME = """
runtimeScopeContainer: Scope of a Container
runtimeState: State
runtimeLifecycle: Lifecycle
runtimeErrors: Errors
runtimeWarnings: Warnings
runtimeOperations: Operations
runtimeQueryState: Query State
runtimeCreate: Create
runtimeStart: Start
runtimeKill: Kill
runtimeDelete: Delete
"""
_RUNTIME_LINUX = """
runtimeLinuxFileDescriptors: File descriptors
runtimeLinuxDevSymbolicLinks: Dev symbolic links
"""
_BUNDLE = """
containerFormat: Container Format
"""
_GLOSSARY = """
glossaryJson: JSON
"""
_CONFIG = """
configSpecificationVersion: Specification version
configRoot: Root
configMounts: Mounts
configLinuxMountOptions: Linux mount options
configPOSIXMounts: POSIX-platform Mounts
configProcess: Process
configPOSIXProcess: POSIX process
configLinuxProcess: Linux Process
configPOSIXUser: POSIX-platform User
configHostname: Hostname
configDomainname: Domainname
configHooks: POSIX-platform Hooks
configHooksPrestart: Prestart
configHooksCreateRuntime: CreateRuntime Hooks
configHooksCreateContainer: CreateContainer Hooks
configHooksStartContainer: StartContainer Hooks
configHooksPoststart: Poststart
configHooksPoststop: Poststop
configAnnotations: Annotations
configExtensibility: Extensibility
validValues: Valid values
"""
_CONFIG_LINUX = """
configLinuxDefaultFilesystems: Default Filesystems
configLinuxNamespaces: Namespaces
configLinuxUserNamespaceMappings: User namespace mappings
configLinuxTimeOffset: Offset for Time Namespace
configLinuxDevices: Devices
configLinuxDefaultDevices: Default Devices
configLinuxNetworkDevices: Network Devices
configLinuxControlGroups: Control groups
configLinuxCgroupsPath: Cgroups Path
cgroupOwnership: Cgroup ownership
configLinuxDeviceAllowedlist: Allowed Device list
configLinuxMemory: Memory
configLinuxCPU: CPU
configLinuxBlockIO: Block IO
configLinuxHugePageLimits: Huge page limits
configLinuxNetwork: Network
configLinuxPIDS: PIDs
configLinuxRDMA: RDMA
configLinuxUnified: Unified
configLinuxIntelRdt: IntelRdt
configLinuxMemoryPolicy: Memory policy
configLinuxSysctl: Sysctl
configLinuxSeccomp: Seccomp
containerprocessstate: The Container Process State
configLinuxRootfsMountPropagation: Rootfs Mount Propagation
configLinuxMaskedPaths: Masked Paths
configLinuxReadonlyPaths: Readonly Paths
configLinuxMountLabel: Mount Label
configLinuxPersonality: Personality
"""
_FEATURES = """
featuresSpecificationVersion: Specification version
featuresHooks: Hooks
featuresMountOptions: Mount Options
"""
_FEATURES_LINUX = """
linuxFeaturesNamespaces: Namespaces
linuxFeaturesCapabilities: Capabilities
linuxFeaturesSeccomp: Seccomp
"""


class Section:
    """One section.

    Args:
        anchor: its name in the document; the first part of a requirement's id.
        document: file name of the document.
        heading: its heading.
    """

    __slots__ = ("anchor", "document", "heading")

    def __init__(self, anchor: str, document: str, heading: str) -> None:
        self.anchor = anchor
        self.document = document
        self.heading = heading

    @property
    def url(self) -> str:
        """Where to read it: headings become anchors by the rule of the site that shows them."""
        slug = re.sub(r"[^\w\- ]", "", self.heading.lower()).replace(" ", "-")
        return f"{BASE}/{self.document}#{slug}"


def _read() -> dict[str, Section]:
    found: dict[str, Section] = {}
    documents = {
        "runtime.md": _RUNTIME,
        "runtime-linux.md": _RUNTIME_LINUX,
        "bundle.md": _BUNDLE,
        "glossary.md": _GLOSSARY,
        "config.md": _CONFIG,
        "config-linux.md": _CONFIG_LINUX,
        "features.md": _FEATURES,
        "features-linux.md": _FEATURES_LINUX,
    }
    for document, lines in documents.items():
        for line in lines.strip().splitlines():
            anchor, heading = line.split(": ", 1)
            found[anchor] = Section(anchor, document, heading)
    return found


SECTIONS = _read()
