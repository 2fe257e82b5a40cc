"""What the sidecar and its clients agree on: the names, the mark, and what a lease file of our client says.

It stands below all rooms and imports next to nothing, since every short job that takes a lease pays for it.
"""

CONTRACT_VERSION = 1

STATE_DIRECTORY = ".gcsidecar"
LOCK = "lock"
# A lease of our client is a file of such a name in the folder; it counts whatever patterns a root has.
CLIENT_LEASES = ".lease.*"
# Set-user-id means nothing on a directory under Linux, so nobody else sets it: the mark of a condemned folder.
MARK = 0o4000
# The filesystems on which the kernel ends a lock (`flock`) with the last process that holds it, and on which every
# process of this machine sees it. Not FUSE (virtiofs, too), NFS, 9p, CIFS, Ceph, cluster filesystems, nor any kind that
# isn't known: there a lock may reach no further than one client, and a host that died holds it still, or not. Kinds are
# named as in `/proc/self/mountinfo`.
_REAL_LOCKS = frozenset(
    {"bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs"}
    | {"rootfs", "squashfs", "tmpfs", "vfat", "xfs", "zfs"}
)
# A lease file that says more than this is none of our client's.
MAX_HOLDER_BYTES = 4096
# Times in seconds since 1970 and durations are below this.
_LATEST = 1e12

# How each field is written: its name in the file is that of the attribute.
_TEXTS = ("boot_id", "host", "purpose")
_NUMBERS = ("pid", "started", "device", "pid_namespace", "mount_namespace")
_FORMAT = "gcsidecar"


def locks_are_real(kind: str) -> bool:
    """Whether a lock on a file shows that a process holds it, on filesystems of this kind (`ext4`, `nfs4`, ...)."""
    return kind in _REAL_LOCKS


class Holder:
    """Who holds a lease of our client, as its file says; whoever can write to the folder can write this, too.

    Attributes:
        pid: Its process, as numbered in its own pid namespace.
        started: When that process started, in clock ticks after boot (field 22 of `/proc/PID/stat`, proc(5)): a number
            that is used again has another one.
        boot_id: The kernel's run that it lives in (`/proc/sys/kernel/random/boot_id`).
        device: The device number of the folder, as it sees it.
        pid_namespace: The inode number of `/proc/self/ns/pid`; `mount_namespace` likewise.
        host: The name of its machine or container.
        purpose: What it holds the folder for, in its own words; may be empty.
        at: When it took the lease, POSIX seconds.
        ttl_seconds: How long the lease holds after the file was last touched; none where its lock alone says so.
        locked: Whether the file is locked (`flock`, exclusive) for as long as the lease holds.
    """

    __slots__ = (
        "at",
        "boot_id",
        "device",
        "host",
        "locked",
        "mount_namespace",
        "pid",
        "pid_namespace",
        "purpose",
        "started",
        "ttl_seconds",
    )

    def __init__(
        self,
        *,
        pid: int,
        started: int,
        boot_id: str,
        device: int,
        pid_namespace: int,
        mount_namespace: int,
        host: str,
        purpose: str,
        at: float,
        ttl_seconds: float | None,
        locked: bool,
    ) -> None:
        self.pid = pid
        self.started = started
        self.boot_id = boot_id
        self.device = device
        self.pid_namespace = pid_namespace
        self.mount_namespace = mount_namespace
        self.host = host
        self.purpose = purpose
        self.at = at
        self.ttl_seconds = ttl_seconds
        self.locked = locked

    def __repr__(self) -> str:
        return f"Holder({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"

    def encoded(self) -> bytes:
        """What the lease file is to hold: one JSON object, then a newline."""
        import json  # noqa: PLC0415  who only imports this module does not pay for it

        fields = {_FORMAT: CONTRACT_VERSION, **{name: getattr(self, name) for name in self.__slots__}}
        return json.dumps(fields).encode("ascii") + b"\n"


def decoded(text: bytes) -> Holder | None:
    """What a lease file says of its holder; none where it is no lease of our client, or of another version of it.

    Args:
        text: The first `MAX_HOLDER_BYTES` + 1 bytes of the file.
    """
    import json  # noqa: PLC0415  as above

    if len(text) > MAX_HOLDER_BYTES:
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.pop(_FORMAT, None) != CONTRACT_VERSION:
        return None
    return Holder(**fields) if set(fields) == set(Holder.__slots__) and _is_sound(fields) else None


def _is_sound(fields: dict[str, object]) -> bool:
    return (
        all(isinstance(fields[name], str) for name in _TEXTS)
        and all(_is_count(fields[name]) for name in _NUMBERS)
        and _is_time(fields["at"])
        and (fields["ttl_seconds"] is None or _is_time(fields["ttl_seconds"]))
        and isinstance(fields["locked"], bool)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LATEST
