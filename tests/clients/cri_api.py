"""Kubernetes' Container Runtime Interface, version runtime.v1, as far as the tests ask: messages and calls.

The messages are made at run time from names and field numbers; what they leave out, the server leaves at its default.
"""

from __future__ import annotations

from typing import Any

PACKAGE = "runtime.v1"
SERVICES = {"ImageStatus": "ImageService"}  # the others are of the RuntimeService
POD, CONTAINER, NODE, TARGET = range(4)  # NamespaceMode
RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = range(3)  # SecurityProfile.ProfileType
PRIVATE, HOST_TO_CONTAINER, BIDIRECTIONAL = range(3)  # MountPropagation
CREATED, RUNNING, EXITED, UNKNOWN = range(4)  # ContainerState
READY, NOT_READY = range(2)  # PodSandboxState

# Message, and its fields as name=number:type; a line that is set in goes on. No type is a string, {} a map of strings,
# []T a list of T; an enum is int32.
MESSAGES = """
Int64Value value=1:int64
UInt64Value value=1:uint64
KeyValue key=1 value=2
ImageSpec image=1
Image id=1 repo_tags=2:[]string size=4:uint64
DNSConfig servers=1:[]string searches=2:[]string options=3:[]string
NamespaceOption network=1:int32 pid=2:int32 ipc=3:int32 target_id=4
SecurityProfile profile_type=1:int32 localhost_ref=2
Capability add_capabilities=1:[]string drop_capabilities=2:[]string
Mount container_path=1 host_path=2 readonly=3:bool propagation=5:int32
Device container_path=1 host_path=2 permissions=3
LinuxContainerResources cpu_period=1:int64 cpu_quota=2:int64 cpu_shares=3:int64 memory_limit_in_bytes=4:int64
  oom_score_adj=5:int64 cpuset_cpus=6 memory_swap_limit_in_bytes=10:int64
LinuxSandboxSecurityContext namespace_options=1:NamespaceOption run_as_user=3:Int64Value readonly_rootfs=4:bool
  privileged=6:bool seccomp=9:SecurityProfile
LinuxPodSandboxConfig cgroup_parent=1 security_context=2:LinuxSandboxSecurityContext sysctls=3:{}
PodSandboxMetadata name=1 uid=2 namespace=3 attempt=4:uint32
PodSandboxConfig metadata=1:PodSandboxMetadata hostname=2 log_directory=3 dns_config=4:DNSConfig labels=6:{}
  annotations=7:{} linux=8:LinuxPodSandboxConfig
LinuxContainerSecurityContext capabilities=1:Capability privileged=2:bool namespace_options=3:NamespaceOption
  run_as_user=5:Int64Value run_as_username=6 readonly_rootfs=7:bool supplemental_groups=8:[]int64 no_new_privs=11:bool
  run_as_group=12:Int64Value masked_paths=13:[]string readonly_paths=14:[]string seccomp=15:SecurityProfile
LinuxContainerConfig resources=1:LinuxContainerResources security_context=2:LinuxContainerSecurityContext
ContainerMetadata name=1 attempt=2:uint32
ContainerConfig metadata=1:ContainerMetadata image=2:ImageSpec command=3:[]string args=4:[]string working_dir=5
  envs=6:[]KeyValue mounts=7:[]Mount devices=8:[]Device labels=9:{} annotations=10:{} log_path=11 stdin=12:bool
  stdin_once=13:bool tty=14:bool linux=15:LinuxContainerConfig
PodSandboxNetworkStatus ip=1
PodSandboxStatus id=1 metadata=2:PodSandboxMetadata state=3:int32 network=5:PodSandboxNetworkStatus labels=7:{}
  annotations=8:{} runtime_handler=9
ContainerStatus id=1 metadata=2:ContainerMetadata state=3:int32 created_at=4:int64 started_at=5:int64
  finished_at=6:int64 exit_code=7:int32 reason=10 message=11 labels=12:{} annotations=13:{}
PodSandbox id=1 metadata=2:PodSandboxMetadata state=3:int32
Container id=1 pod_sandbox_id=2 metadata=3:ContainerMetadata state=6:int32
ContainerFilter pod_sandbox_id=3
CpuUsage usage_core_nano_seconds=2:UInt64Value
MemoryUsage working_set_bytes=2:UInt64Value
ContainerAttributes id=1 metadata=2:ContainerMetadata labels=3:{}
ContainerStats attributes=1:ContainerAttributes cpu=2:CpuUsage memory=3:MemoryUsage
ContainerStatsFilter pod_sandbox_id=2
ProcessUsage process_count=2:UInt64Value
LinuxPodSandboxStats cpu=1:CpuUsage memory=2:MemoryUsage process=4:ProcessUsage containers=5:[]ContainerStats
PodSandboxStats linux=2:LinuxPodSandboxStats
RuntimeCondition type=1 status=2:bool reason=3 message=4
RuntimeStatus conditions=1:[]RuntimeCondition
StatusRequest
StatusResponse status=1:RuntimeStatus
ImageStatusRequest image=1:ImageSpec
ImageStatusResponse image=1:Image
RunPodSandboxRequest config=1:PodSandboxConfig runtime_handler=2
RunPodSandboxResponse pod_sandbox_id=1
StopPodSandboxRequest pod_sandbox_id=1
StopPodSandboxResponse
RemovePodSandboxRequest pod_sandbox_id=1
RemovePodSandboxResponse
PodSandboxStatusRequest pod_sandbox_id=1 verbose=2:bool
PodSandboxStatusResponse status=1:PodSandboxStatus info=2:{}
ListPodSandboxRequest
ListPodSandboxResponse items=1:[]PodSandbox
CreateContainerRequest pod_sandbox_id=1 config=2:ContainerConfig sandbox_config=3:PodSandboxConfig
CreateContainerResponse container_id=1
StartContainerRequest container_id=1
StartContainerResponse
StopContainerRequest container_id=1 timeout=2:int64
StopContainerResponse
RemoveContainerRequest container_id=1
RemoveContainerResponse
ListContainersRequest filter=1:ContainerFilter
ListContainersResponse containers=1:[]Container
ContainerStatusRequest container_id=1 verbose=2:bool
ContainerStatusResponse status=1:ContainerStatus info=2:{}
UpdateContainerResourcesRequest container_id=1 linux=2:LinuxContainerResources
UpdateContainerResourcesResponse
ReopenContainerLogRequest container_id=1
ReopenContainerLogResponse
ExecSyncRequest container_id=1 cmd=2:[]string timeout=3:int64
ExecSyncResponse stdout=1:bytes stderr=2:bytes exit_code=3:int32
ExecRequest container_id=1 cmd=2:[]string tty=3:bool stdin=4:bool stdout=5:bool stderr=6:bool
ExecResponse url=1
AttachRequest container_id=1 stdin=2:bool tty=3:bool stdout=4:bool stderr=5:bool
AttachResponse url=1
ContainerStatsRequest container_id=1
ContainerStatsResponse stats=1:ContainerStats
ListContainerStatsRequest filter=1:ContainerStatsFilter
ListContainerStatsResponse stats=1:[]ContainerStats
PodSandboxStatsRequest pod_sandbox_id=1
PodSandboxStatsResponse stats=1:PodSandboxStats
"""


OPTIONAL, REPEATED = 1, 3  # FieldDescriptorProto.Label
TYPES = {"int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "message": 11, "bytes": 12, "uint32": 13}


def _describe_field(message: Any, name: str, number: int, kind: str) -> None:
    """Add a field to the description of a message."""
    field = message.field.add(name=name, number=number, label=OPTIONAL)
    if kind.startswith("[]"):
        field.label, kind = REPEATED, kind[2:]
    if kind == "{}":
        entry = message.nested_type.add(name="".join(word.capitalize() for word in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _describe_field(entry, "key", 1, "string")
        _describe_field(entry, "value", 2, "string")
        field.label = REPEATED
        field.type, field.type_name = TYPES["message"], f".{PACKAGE}.{message.name}.{entry.name}"
    elif kind[0].isupper():
        field.type, field.type_name = TYPES["message"], f".{PACKAGE}.{kind}"
    else:
        field.type = TYPES[kind]


def _classes() -> dict[str, Any]:
    """The message classes by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="runtime.v1.tests", package=PACKAGE, syntax="proto3")
    for line in MESSAGES.replace("\n  ", " ").strip().splitlines():
        name, *fields = line.split()
        message = file.message_type.add(name=name)
        for text in fields:
            field, _, rest = text.partition("=")
            number, _, kind = rest.partition(":")
            _describe_field(message, field, int(number), kind or "string")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [message.name for message in file.message_type]
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in names}


class Api:
    """The calls over a socket. Fields of a request are given by name; messages in them as dicts.

    Args:
        socket: path of the server's socket.
        patience: seconds until a call counts as stuck.
    """

    def __init__(self, socket: str, patience: float) -> None:
        import grpc  # here, for the tests to be skipped where it is absent

        self.classes = _classes()
        self.refusal = grpc.RpcError
        self.channel = grpc.insecure_channel(f"unix://{socket}")
        self.patience = patience

    def __call__(self, method: str, /, **fields: Any) -> Any:
        call = self.channel.unary_unary(
            f"/{PACKAGE}.{SERVICES.get(method, 'RuntimeService')}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self.classes[f"{method}Response"].FromString,
        )
        return call(self.classes[f"{method}Request"](**fields), timeout=self.patience, wait_for_ready=True)

    def fails(self, method: str, /, **fields: Any) -> str:
        """Make a call that must be refused; gives the words of the refusal."""
        try:
            answer = self(method, **fields)
        except self.refusal as error:
            return f"{error.code().name}: {error.details()}"
        raise AssertionError(f"{method} was not refused: {answer}")

    def close(self) -> None:
        self.channel.close()
