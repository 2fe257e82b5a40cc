"""The few system calls that Python 3.11 has no function for, each failure an `OSError` with its errno and path.

Calls and their fallbacks only: what is opened, renamed or asked for, and why, is for others to know.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from stat import S_ISDIR, S_ISLNK
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Values of the kernel's user interface: <linux/openat2.h>, <linux/fs.h>, <linux/fcntl.h>, <linux/stat.h>. `openat2` is
# younger than the day from which a call has the same number on every machine, and has no function in the C library.
_SYS_OPENAT2 = 437
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _RESOLVE_NO_XDEV | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
_RENAME_NOREPLACE = 0x1
_AT_SYMLINK_NOFOLLOW, _AT_NO_AUTOMOUNT, _AT_EMPTY_PATH, _AT_STATX_DONT_SYNC = 0x100, 0x800, 0x1000, 0x4000
_AT_STATX = _AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT | _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
_STATX_MNT_ID = 0x1000
_STATX_ATTR_FIXED = 0x10 | 0x20  # STATX_ATTR_IMMUTABLE, STATX_ATTR_APPEND

_open_how = struct.Struct("=QQQ")  # flags, mode, resolve
_statx_fields = struct.Struct("=I4xQ128xQ")  # stx_mask, stx_attributes, stx_mnt_id at byte 144
_STATX_BYTES = 256
_STATFS_BYTES = 256  # struct statfs is 120 bytes on 64-bit machines

# A kernel without the call says ENOSYS; a seccomp filter that doesn't know it says EPERM (Docker before 20.10).
_REFUSED = frozenset({errno.ENOSYS, errno.EPERM})
# NFS and most FUSE servers know no flags of a rename.
_FLAG_REFUSED = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL})

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
_fstatfs = _libc.fstatfs
_fstatfs.argtypes = [ctypes.c_int, ctypes.c_char_p]
_renameat2 = getattr(_libc, "renameat2", None)  # older musl has none
if _renameat2 is not None:
    _renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_statx = getattr(_libc, "statx", None)
if _statx is not None:
    _statx.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p]
_getdents = getattr(_libc, "getdents64", None) or getattr(_libc, "getdents", None)  # musl has but the one
if _getdents is not None:
    _getdents.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    _getdents.restype = ctypes.c_ssize_t

FILESYSTEM_NAMES: Mapping[int, str] = MappingProxyType(
    {
        0x0000_4D44: "vfat",
        0x0000_517B: "smb",
        0x0000_6969: "nfs",
        0x0000_9660: "iso9660",
        0x0000_9FA0: "proc",
        0x0000_EF53: "ext4",  # ext2 and ext3 have the same number
        0x0000_F15F: "ecryptfs",
        0x00C3_6400: "ceph",
        0x0102_1994: "tmpfs",
        0x0102_1997: "9p",
        0x0116_1970: "gfs2",
        0x0BD0_0BD0: "lustre",
        0x2011_BAB0: "exfat",
        0x2FC1_2FC1: "zfs",
        0x3153_464A: "jfs",
        0x4750_4653: "gpfs",
        0x5265_4973: "reiserfs",
        0x5346_414F: "afs",
        0x5846_5342: "xfs",
        0x6265_6572: "sysfs",
        0x6573_5546: "fuse",  # virtiofs, too
        0x7371_7368: "squashfs",
        0x7461_636F: "ocfs2",
        0x786F_4256: "vboxsf",
        0x794C_7630: "overlay",
        0x8584_58F6: "ramfs",
        0x9123_683E: "btrfs",
        0x9584_58F6: "hugetlbfs",
        0xCA45_1A4E: "bcachefs",
        0xE0F5_E1E2: "erofs",
        0xF2F5_2010: "f2fs",
        0xFE53_4D42: "smb2",
        0xFF53_4D42: "cifs",
    },
)
"""What `filesystem_type` returns, by the name that `/proc/filesystems` has for it (`statfs(2)`, <linux/magic.h>)."""


def open_beneath(dir_fd: int, name: str, flags: int, mode: int = 0o644) -> int:
    """Open what `name` names below the directory `dir_fd`, through no symbolic link and into no other mount.

    Always with `O_CLOEXEC` and `O_NOFOLLOW`. A kernel from 5.6 on does it in one call (`openat2(2)`); where it is too
    old, or a filter refuses the call, `open_by_steps` does it.

    Args:
        dir_fd: The directory to start from.
        name: A relative path of one or more components, none of them empty or `..`.
        flags: As of `os.open`.
        mode: Of a file that is made, with `O_CREAT`.

    Raises:
        OSError: `EXDEV`: something is mounted on the way or at the end, or `name` leads out of `dir_fd`. `ELOOP`: a
            component is a symbolic link (the last one with `O_DIRECTORY`: `ENOTDIR`). Else as of `open(2)`: `ENOENT`,
            `ENOTDIR`, `EACCES`, `EPERM` (`O_NOATIME` on what isn't ours), `EEXIST`, `EMFILE`, `ENFILE`, `ENAMETOOLONG`.
        ValueError: `name` holds a NUL.
    """
    _components(name)
    try:
        return _openat2(dir_fd, name, flags, mode)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
    return open_by_steps(dir_fd, name, flags, mode)


def open_by_steps(dir_fd: int, name: str, flags: int, mode: int = 0o644) -> int:
    """`open_beneath` for kernels that have no call for it: one component after the other, each held against the mount.

    Raises:
        OSError: As `open_beneath`.
        ValueError: `name` holds a NUL.
    """
    *way, last = _components(name)
    mount = mount_id(dir_fd)
    fd = os.dup(dir_fd)
    try:
        for component in way:
            fd, left = _step_into(fd, component, mount), fd
            os.close(left)
        # Looked at before it is opened: opening a device or a FIFO of another mount may do something, or wait.
        if mount_id_of(fd, last, missing=mount) != mount:
            raise _failure(errno.EXDEV, name)
        return _checked(os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=fd), mount)
    except OSError as error:
        error.filename = name  # not the component, so that both ways give the same error
        raise
    finally:
        os.close(fd)


def rename_exclusive(src_dir_fd: int, src: str, dst_dir_fd: int, dst: str) -> None:
    """Rename the directory `src` to `dst`, never over anything (`renameat2(2)` with `RENAME_NOREPLACE`).

    Where that is refused (NFS, some FUSE servers, kernels before 3.15), `rename_if_free` does it.

    Raises:
        OSError: `EEXIST`: there is a `dst`. `ENOENT`: there is no `src`, or its or the other directory is gone.
            `EXDEV`: another mount. `EBUSY`: something is mounted on it. `EACCES`, `EPERM`, `EROFS`: not permitted (to
            move a directory one has to be able to write in it). `ENOSPC`: no room for the entry. `EINVAL`: `dst` is
            inside `src`. `ENAMETOOLONG`, `ENOTDIR`, `EDQUOT`, `EMLINK`: as of `rename(2)`.
        ValueError: A name holds a NUL.
    """
    if _renameat2 is not None:
        if _renameat2(src_dir_fd, _encoded(src), dst_dir_fd, _encoded(dst), _RENAME_NOREPLACE) == 0:
            return
        if (code := ctypes.get_errno()) not in _FLAG_REFUSED:
            raise _failure(code, src, dst)
    rename_if_free(src_dir_fd, src, dst_dir_fd, dst)


def rename_if_free(src_dir_fd: int, src: str, dst_dir_fd: int, dst: str) -> None:
    """`rename_exclusive` without the kernel's help: look, then rename.

    What comes between the two is replaced only if it is an empty directory, since `src` is a directory: `rename(2)`
    puts a directory over nothing else.

    Raises:
        OSError: As `rename_exclusive`; also `ENOTEMPTY` or `ENOTDIR` where a `dst` came between.
        ValueError: A name holds a NUL.
    """
    try:
        os.stat(dst, dir_fd=dst_dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    else:
        raise _failure(errno.EEXIST, src, dst)


def mount_id(fd: int) -> int:
    """The mount that an open file or directory was reached through; a bind mount has one of its own.

    From `statx(2)` (kernel 5.8), else from `/proc/self/fdinfo` (`proc(5)`).

    Raises:
        OSError: `EBADF`; `ENOENT`: an old kernel, and `/proc` isn't mounted.
    """
    fields = _statx_of(fd)
    return _mount_id_from_proc(fd) if fields is None or not fields[0] & _STATX_MNT_ID else fields[2]


def mount_id_of(dir_fd: int, name: str, missing: int | None = None) -> int:
    """The mount that `name` in the directory `dir_fd` is in; no link is followed, and nothing is opened for use.

    Args:
        dir_fd: The directory.
        name: One component.
        missing: What to return where there is no such name; without it, that is an error.

    Raises:
        OSError: `ENOENT`, `EACCES`, `EBADF`, `EMFILE`, `ENAMETOOLONG`.
        ValueError: `name` holds a NUL.
    """
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=dir_fd)
    except FileNotFoundError:
        if missing is None:
            raise
        return missing
    try:
        return mount_id(fd)
    finally:
        os.close(fd)


def is_immutable(fd: int) -> bool:
    """Whether `chattr +i` or `+a` is on it: then nothing in it can be deleted, nor it; False where that can't be known.

    Raises:
        OSError: `EBADF`, `EIO`.
    """
    fields = _statx_of(fd)
    return fields is not None and bool(fields[1] & _STATX_ATTR_FIXED)


def asker_for_immutable() -> Callable[[int, str], bool]:
    """What asks that of entries of a directory, by name and through no link; for very many, in one thread.

    What can't be asked is not immutable: looking at it fails elsewhere, too.
    """
    if _statx is None:
        return lambda _dir_fd, _name: False
    answer, statx, encoded, unpack = ctypes.create_string_buffer(_STATX_BYTES), _statx, os.fsencode, _statx_fields

    def is_immutable_in(dir_fd: int, name: str) -> bool:
        if statx(dir_fd, encoded(name), _AT_STATX, 0, answer) != 0:
            return False
        return bool(unpack.unpack_from(answer)[1] & _STATX_ATTR_FIXED)

    return is_immutable_in


def read_entries(fd: int, room: ctypes.Array[ctypes.c_char]) -> int:
    """Have the kernel's next records of a directory's entries (`getdents64(2)`) written into `room`.

    Returns:
        How many bytes of it they fill; 0 at the end, and where the directory was deleted.

    Raises:
        OSError: `ENOSYS`: this C library has no function for it. Else `EIO` and the like.
    """
    if _getdents is None:
        raise _failure(errno.ENOSYS, str(fd))
    while (length := int(_getdents(fd, ctypes.addressof(room), len(room)))) < 0:
        code = ctypes.get_errno()
        if code == errno.ENOENT:
            return 0
        if code != errno.EINTR:
            raise _failure(code, str(fd))
    return length


def filesystem_type(fd: int) -> int:
    """The number of the kind of filesystem that it is on (`fstatfs(2)`); `FILESYSTEM_NAMES` has their names.

    Raises:
        OSError: `EBADF`, `EIO`, `ENOSYS`; `EINTR` is tried again.
    """
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    while _fstatfs(fd, answer) != 0:
        if (code := ctypes.get_errno()) != errno.EINTR:
            raise _failure(code, str(fd))
    # f_type comes first: a long, or an unsigned int on s390x; the numbers have 32 bits.
    return ctypes.c_uint32.from_buffer(answer).value


def _openat2(dir_fd: int, name: str, flags: int, mode: int) -> int:
    mode = mode if flags & os.O_CREAT else 0  # anything else is EINVAL
    how = _open_how.pack(flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, _RESOLVE)
    path = _encoded(name)
    while (fd := int(_syscall(_SYS_OPENAT2, dir_fd, path, how, len(how)))) < 0:
        if (code := ctypes.get_errno()) != errno.EINTR:
            raise _failure(code, name)
    return fd


def _components(name: str) -> list[str]:
    """The components of a relative path that can't lead out of where it starts."""
    components = name.split("/")
    if not name:
        raise _failure(errno.ENOENT, name)
    if "" in components or ".." in components:
        raise _failure(errno.EXDEV, name)
    return components


def _step_into(dir_fd: int, component: str, mount: int) -> int:
    """Open one directory on the way; a link is ELOOP and a file ENOTDIR, as `openat2` has it."""
    fd = _checked(os.open(component, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd), mount)
    mode = os.fstat(fd).st_mode
    if S_ISDIR(mode):
        return fd
    os.close(fd)
    raise _failure(errno.ELOOP if S_ISLNK(mode) else errno.ENOTDIR, component)


def _checked(fd: int, mount: int) -> int:
    """Give `fd` back if it is in that mount, else close it."""
    if mount_id(fd) == mount:
        return fd
    os.close(fd)
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def _statx_of(fd: int) -> tuple[int, int, int] | None:
    """Mask, attributes and mount id; none where there is no `statx`."""
    if _statx is None:
        return None
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    if _statx(fd, b"", _AT_STATX, _STATX_MNT_ID, answer) == 0:
        mask, attributes, mount = _statx_fields.unpack_from(answer)
        return mask, attributes, mount
    # Where the kernel has none the GNU C library feigns it, and knows no `AT_STATX_DONT_SYNC`.
    if (code := ctypes.get_errno()) in _FLAG_REFUSED:
        return None
    raise _failure(code, str(fd))


def _mount_id_from_proc(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            if key == "mnt_id":
                return int(value)
    raise OSError(errno.ENOSYS, "this kernel tells no mount ids (it has to be 3.15 or newer)", str(fd))


def _encoded(name: str) -> bytes:
    if "\0" in name:  # to the C library the name would end there, and mean something else
        raise ValueError(f"{name!r}: a name with a NUL in it names nothing")
    return os.fsencode(name)


def _failure(code: int, name: str, other: str | None = None) -> OSError:
    return OSError(code, os.strerror(code), name, None, other)
