"""System calls that a child is refused, as a seccomp filter or an old kernel refuses them."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

import needs

# <asm/unistd.h>, <linux/prctl.h>, <linux/seccomp.h>
_STATX = {"x86_64": 332, "aarch64": 291}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def refuse_statx(code: int) -> None:
    """From now on `statx` fails in this process with an errno, for good."""
    number = _STATX.get(platform.machine())
    if number is None:
        needs.unavailable(f"the number of statx on {platform.machine()} isn't known here")
    program = b"".join(
        [
            _instruction(0x20, 0, 0, 0),  # the number of the call
            _instruction(0x15, 0, 1, number or 0),  # that one?
            _instruction(0x06, 0, 0, _ERRNO | code),
            _instruction(0x06, 0, 0, _ALLOW),
        ]
    )
    room = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(room))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0), (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(filter_))):
        if libc.prctl(*arguments, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
