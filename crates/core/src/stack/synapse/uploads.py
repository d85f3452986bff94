# Written by matrix-podman; changes here are overwritten.
"""Room on the disk, and not without end, for requests that are still on their way.

Whatever somebody sends to Synapse waits in a nameless temporary file until all of it
is there, before anybody knows who they are. Python runs this module when it starts; all such files
together take no more than ROOM bytes, and none grows while the disk has less than KEEP
bytes free. A request that does not fit fails as it would on a full disk, and nobody else notices.
"""

import errno
import io
import os
import tempfile
import threading

ROOM = @ROOM@
KEEP = @KEEP@
# How often the disk is looked at: each time that a file has grown by so much.
LOOK = 1 << 20

_lock = threading.Lock()
_taken = 0
_nameless = tempfile.TemporaryFile


def _full():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Waiting(io.BufferedRandom):
    """A temporary file whose size counts."""

    _size = 0
    _looked = -LOOK

    def write(self, data):
        global _taken
        end = self.tell() + memoryview(data).nbytes
        if end > self._size:
            if end - self._looked >= LOOK:
                disk = os.fstatvfs(self.fileno())
                if disk.f_bavail * disk.f_frsize < KEEP:
                    raise _full()
                self._looked = end
            with _lock:
                if _taken + end - self._size > ROOM:
                    raise _full()
                _taken += end - self._size
                self._size = end
        return super().write(data)

    def close(self):
        global _taken
        with _lock:
            _taken -= self._size
            self._size = 0
        super().close()


def _temporary(mode="w+b", *args, **kwargs):
    file = _nameless(mode, *args, **kwargs)
    if mode not in ("w+b", "wb+") or not isinstance(file, io.BufferedRandom):
        return file
    with file:
        return _Waiting(io.FileIO(os.dup(file.fileno()), "r+"))


tempfile.TemporaryFile = _temporary
