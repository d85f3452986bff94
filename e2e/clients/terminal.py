"""Runs a command on a terminal of its own and plays the person at it.

    terminal.py COMMAND ARGUMENT... < DIALOGUE.json

The dialogue is a list of [text to wait for, what to type then]. What appears on
the terminal goes to standard output; the exit code is the command's.
"""

import json
import os
import pty
import select
import sys
import time

PATIENCE = 60.0


def main() -> int:
    dialogue = json.load(sys.stdin)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(sys.argv[1], sys.argv[1:])
    seen = b""
    looked_from = 0
    deadline = time.monotonic() + PATIENCE
    while True:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # The other side was closed.
                data = b""
            if not data:
                break
            seen += data
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        if dialogue:
            wanted, answer = dialogue[0]
            at = seen.find(wanted.encode(), looked_from)
            if at >= 0:
                looked_from = at + len(wanted.encode())
                time.sleep(0.1)
                os.write(terminal, answer.encode() + b"\n")
                dialogue.pop(0)
                deadline = time.monotonic() + PATIENCE
            elif time.monotonic() > deadline:
                sys.stderr.write(f"terminal.py: {wanted!r} did not appear in {PATIENCE:.0f} s\n")
                os.kill(pid, 9)
                break
    _, status = os.waitpid(pid, 0)
    if dialogue:
        sys.stderr.write(f"terminal.py: these were never asked for: {dialogue}\n")
        return 99
    return os.waitstatus_to_exitcode(status)


sys.exit(main())
