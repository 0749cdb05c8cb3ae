"""The process inside the sandbox that forks for each submission, seen from outside."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """What a submission may use. Seconds are wall-clock, kept by the grader."""

    cell: float = 10.0
    call: float = 5.0
    submission: float = 120.0
    memory: int = 2**31


@dataclass
class Server:
    """A process inside the sandbox that has torch loaded and forks for each submission."""

    level: str
    warnings: list[str]
    process: subprocess.Popen[bytes]
    control: socket.socket
    folder: tempfile.TemporaryDirectory[str]
    home: Path | None

    def fork(self) -> tuple[socket.socket, socket.socket]:
        """A new student's process: the socket that it answers on, and its lifeline.

        Closing the lifeline kills it. OSError if the server is gone.
        """
        link, far_link = socket.socketpair()
        lifeline, far_lifeline = socket.socketpair()
        with far_link, far_lifeline:
            socket.send_fds(self.control, [b"x"], [far_link.fileno(), far_lifeline.fileno()])
        return link, lifeline

    def clean(self) -> None:
        """Empty the home folder, where it is a real one that submissions share."""
        if self.home is not None:
            for path in self.home.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        self.control.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        with contextlib.suppress(OSError):
            self.folder.cleanup()
