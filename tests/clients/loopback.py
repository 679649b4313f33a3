"""A network of its own for this process and all that it starts, with the loopback device alone.

A client that calls home fails at once and visibly, and cannot depend on what is out there.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def enter() -> bool:
    """Moves this process (which must still have one thread) there; False where that is forbidden."""
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if os.geteuid() == 0:
        if unshare(CLONE_NEWNET) != 0:
            return False
    else:
        user, group = os.geteuid(), os.getegid()
        if unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            return False
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _bring_up("lo")
    return True


def devices() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def _bring_up(device: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", device.encode(), IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
