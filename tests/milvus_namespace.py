"""A program: runs another in a network namespace of its own, and relays one loopback port of the machine into it.

`python -m tests.milvus_namespace PORT INNER_PORT PROGRAM …`. A Milvus server listens on a dozen ports of all
interfaces, two of them fixed, whatever its configuration says; in here nobody else can reach them. SIGTERM ends
both; neither outlives this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP_TIMEOUT_S = 5.0
CHUNK_BYTES = 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def enter_namespace() -> None:
    """Moves this process, and those that it starts, to a network of nothing but a loopback interface."""
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if _libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "no network namespace for the server")
    with socket.socket() as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def die_with_parent() -> None:
    """Has the kernel end this process when the one that started it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until the end, and then closes."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def serve(listener: socket.socket, inner_port: int, command: list[str]) -> int:
    """Runs the command until it ends or SIGTERM comes; returns its status."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", inner_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(relay, sock=listener)
    process = await asyncio.create_subprocess_exec(*command, preexec_fn=die_with_parent)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    ends = [asyncio.ensure_future(process.wait()), asyncio.ensure_future(stopped.wait())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    server.close()
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
    return process.returncode or 0


def main() -> int:
    """Runs."""
    port, inner_port, *command = sys.argv[1:]
    die_with_parent()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(port)))
        listener.listen()
        enter_namespace()
        return asyncio.run(serve(listener, int(inner_port), command))


if __name__ == "__main__":
    sys.exit(main())
