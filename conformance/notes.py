"""Why a failure is one: for each requirement that another runtime fails, what the text says that it does not do."""

from __future__ import annotations

import fnmatch

_APPLIED = (
    "Create MUST apply every property but process, and what it cannot apply MUST be an error (runtime.md, Create); here it is "
    "passed over in silence."
)
_VALUES = "Invalid and unsupported values MUST be an error (config.md, Valid values); here it is taken."
_LATER = "It came with a later specification than this runtime was written for, whose text is the measure here. "

NOTES: dict[str, str] = {
    "runtimeState-*": "The state's properties and their values are listed in the text.",
    "runtimeLifecycle-15": "Step 7: the hook's failure MUST generate an error; here start succeeds, and the program is not run.",
    "runtimeLifecycle-16": "Step 9: the hook belongs to start, whose failure it is; here another operation fails, or none.",
    "runtimeLifecycle-1[7-9]": "Steps 3 to 5: the container MUST be stopped.",
    "runtimeLifecycle-2[01]": "Steps 7 and 9: the container MUST be stopped; here its process is still there.",
    "runtimeLifecycle-2[2-6]": "Each step names step 12 as the next: the container MUST be destroyed by undoing create; here it is "
    "still known, or the wrong operation fails.",
    "runtimeLifecycle-2[7-9]": "After step 12 comes step 13: poststop hooks MUST be invoked; here they are not.",
    "runtimeLifecycle-3[01]": "After step 12 comes step 13: poststop hooks MUST be invoked; here they are not.",
    "runtimeLifecycle-33": "Step 13: the remaining hooks MUST run as if the failed one had succeeded; here they do not.",
    "runtimeErrors-*": "An operation that fails MUST leave all as if it had not been tried.",
    "runtimeWarnings-1": "A warning MUST NOT change the flow of the operation; here delete fails.",
    "runtimeDelete-[56]": "Only stopped containers may be deleted; delete of any other MUST be an error without effect. Here the created "
    "container is gone.",
    "runtimeCreate-*": _VALUES,
    "glossaryJson-*": "All config JSON MUST be UTF-8, and MUST NOT have a name twice in an object; " + _VALUES,
    "configSpecificationVersion-8": "ociVersion is REQUIRED and MUST be SemVer; " + _VALUES,
    "configSpecificationVersion-9": "ociVersion is REQUIRED and MUST be SemVer; " + _VALUES,
    "configSpecificationVersion-10": "Compatibility ends with the major version, so this one is not supported; "
    + _VALUES,
    "configSpecificationVersion-*": _LATER + "A runtime of 1.3 MUST take a config of any earlier 1.x.",
    "configRoot-*": "root and root.path are REQUIRED, and a directory MUST exist there.",
    "configMounts-*": "The text says what a mount entry means; here it means another thing.",
    "configLinuxMountOptions-[1-9]": "The table names the option MUST or SHOULD, with the meaning of mount(8), where the later of two opposites "
    "counts; here it has no effect.",
    "configLinuxMountOptions-29": "The table names the option SHOULD, after mount_setattr(2); here it makes create fail.",
    "configLinuxMountOptions-37": "The table names the option SHOULD, after mount_setattr(2); here it makes create fail.",
    "configLinuxMountOptions-6[3-6]": _LATER
    + "The option MUST map the ids, or be an error where there is no mapping; here it is passed over.",
    "configLinuxMountOptions-*": "The table names the option, with the meaning of mount(8) or mount_setattr(2); here it has not that effect.",
    "configPOSIXMounts-*": _LATER + "The mappings MUST come as a pair, and are applied to the mount; " + _APPLIED,
    "configProcess-19": "process is OPTIONAL until start is called; here create refuses the config.",
    "configProcess-*": "The text says what the property means; here it is not kept to.",
    "configPOSIXProcess-18": "A type given twice MUST be an error, in those words; here one of the two is taken.",
    "configPOSIXProcess-*": "getrlimit MUST give the configured values, and what has no kernel interface MUST be an error.",
    "configLinuxProcess-7": "A capability that cannot be granted SHOULD NOT make create fail; here it does.",
    "configLinuxProcess-8": "A capability that cannot be granted SHOULD NOT make create fail; here it does.",
    "configLinuxProcess-9": "What cannot be mapped to the kernel MUST be logged as a warning; here nothing is said of it, or it is an error.",
    "configLinuxProcess-1[7-9]": _LATER + _APPLIED,
    "configLinuxProcess-2[0-5]": _LATER + _APPLIED,
    "configLinuxProcess-2[6-9]": _LATER + _VALUES,
    "configLinuxProcess-3[0-2]": _LATER + _APPLIED,
    "configLinuxProcess-3[34]": _LATER + _VALUES,
    "configLinuxProcess-3[56]": _LATER + _APPLIED,
    "configLinuxProcess-*": _APPLIED,
    "configPOSIXUser-5": "Without umask the caller's should not be changed; here it becomes one of the runtime's own.",
    "configPOSIXUser-*": "The text says whose ids these are.",
    "configDomainname-*": _LATER + _APPLIED,
    "configHostname-*": _APPLIED,
    "configHooks*-5": "The state that a hook gets MUST be the container's at that step (runtime.md, State); here it is an earlier or later one.",
    "configHooks*-9": "path MUST be absolute; " + _VALUES,
    "configHooks*-10": "timeout is when the hook is aborted; here it is waited for.",
    "configHooks*-11": "timeout MUST be greater than zero; " + _VALUES,
    "configHooks*-12": "path is REQUIRED; " + _VALUES,
    "configHooksPoststart-1[456]": "poststart hooks MUST be called by start, after the program is executed; here create calls them.",
    "configHooks*": "The text says when and where each kind of hook is called, and with what.",
    "configAnnotations-*": "Values MUST be strings, and keys MUST NOT be empty; " + _VALUES,
    "configExtensibility-*": "Unknown properties MUST be ignored.",
    "validValues-*": _VALUES,
    "configLinuxNamespaces-8": _LATER + "All listed types SHOULD be supported.",
    "configLinuxNamespaces-14": "uidMappings and gidMappings are OPTIONAL, and a namespace that is joined has its own; here they are asked for.",
    "configLinuxNamespaces-16": _LATER + "All listed types SHOULD be supported.",
    "configLinuxNamespaces-3[3-9]": "A type given twice MUST be an error, in those words; here it is taken.",
    "configLinuxNamespaces-40": "A type given twice MUST be an error, in those words; here it is taken.",
    "configLinuxNamespaces-52": _LATER + "All listed types SHOULD be supported.",
    "configLinuxNamespaces-*": "The text says what a path must be, and what the types isolate.",
    "configLinuxUserNamespaceMappings-*": "The mappings of the config are those of the namespace.",
    "configLinuxTimeOffset-*": _LATER + "The type time SHOULD be supported, and its offsets with it.",
    "configLinuxDevices-1[01]": "A file at path that does not match the device MUST be an error; here it is overwritten, hidden or taken.",
    "configLinuxDevices-12": "major and minor are REQUIRED unless the type is p; " + _VALUES,
    "configLinuxDevices-*": "The text says what the properties of a device mean.",
    "configLinuxDefault*": "The text lists what MUST or SHOULD be there.",
    "configLinuxDeviceAllowedlist-1[34]": "access is made of r, w and m, and type is a, b or c; " + _VALUES,
    "configLinuxDeviceAllowedlist-*": "Entries MUST be applied in the listed order.",
    "configLinuxNetworkDevices-*": _LATER
    + "The device MUST be moved, or there MUST be an error; here nothing happens.",
    "configLinuxMemory-7": _APPLIED,
    "configLinuxPIDS-3": "0 is a valid limit and SHOULD be treated as such; here it is no limit.",
    "configLinuxPIDS-*": "-1 is no limit, and a limit is that of the cgroup; here it is not so.",
    "configLinuxIntelRdt-1": "Without a mounted resctrl there MUST be an error, in those words; here there is none.",
    "configLinuxUnified-*": "A controller that is not there MUST be an error, in those words; here there is none.",
    "configLinuxMemory-*": _APPLIED,
    "configLinuxCPU-*": _APPLIED,
    "configLinuxBlockIO-*": _APPLIED,
    "configLinuxHugePageLimits-*": _APPLIED,
    "configLinuxNetwork-*": _APPLIED,
    "configLinuxRDMA-*": _APPLIED,
    "cgroupOwnership-3": "The owner SHOULD be changed if the cgroups are mounted to be written; here the group stays root's.",
    "configLinuxCgroupsPath-*": "The text says where an absolute path leads.",
    "configLinuxControlGroups-*": "A cgroup that is not fit MUST be an error, so that no container touches another.",
    "configLinuxMemoryPolicy-1[1-4]": _LATER + _VALUES,
    "configLinuxMemoryPolicy-*": _LATER + _APPLIED,
    "configLinuxSysctl-*": _APPLIED,
    "configLinuxSeccomp-1[6-9]": "Of an action that takes no errno the runtime MUST print an error and fail; here it is passed over.",
    "configLinuxSeccomp-2[0-2]": "Of an action that takes no errno the runtime MUST print an error and fail; here it is passed over.",
    "configLinuxSeccomp-45": "names MUST contain at least one entry; " + _VALUES,
    "configLinuxSeccomp-54": "listenerMetadata MUST NOT be set if listenerPath is not; " + _VALUES,
    "configLinuxSeccomp-*": "The text gives the words, and libseccomp their meaning.",
    "containerprocessstate-*": "The text lists what the state holds and how it is sent.",
    "configLinuxRootfsMountPropagation-1": "What is mounted on the host MUST appear under slave; here the root's mount has left the host's peer "
    "group.",
    "configLinuxRootfsMountPropagation-3": "Under shared the root's mount belongs to a new peer group; here it is in none.",
    "configLinuxRootfsMountPropagation-6": "Under unbindable the root's mount cannot be bound; here it can.",
    "configLinuxRootfsMountPropagation-*": _VALUES,
    "configLinuxMaskedPaths-5": "The values MUST be absolute paths; " + _VALUES,
    "configLinuxReadonlyPaths-6": "The values MUST be absolute paths; " + _VALUES,
    "configLinuxMaskedPaths-*": "Masked paths cannot be read.",
    "configLinuxReadonlyPaths-*": "Read-only paths cannot be written.",
    "configLinuxMountLabel-*": _APPLIED,
    "configLinuxPersonality-[12]": _APPLIED,
    "configLinuxPersonality-*": _VALUES,
    "featuresMountOptions-1": "Every option in the array MUST be recognised in a config; here one of them makes create fail.",
    "features*": "What the features structure names MUST be taken in a config.",
    "linuxFeatures*": "What the features structure names MUST be taken in a config.",
}


def note(id: str) -> str:
    """The note of a requirement, the first whose pattern fits; "" if nobody has written one."""
    for pattern, text in NOTES.items():
        if fnmatch.fnmatchcase(id, pattern):
            return text
    return ""
