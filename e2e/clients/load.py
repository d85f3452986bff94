"""What people's clients do all day, on kept connections, until standard input ends.

    load.py < TASK.json-and-then-nothing-more

The first line of standard input is the task: "host", "port", "token", "room" and "name", which messages begin with.
Some clients wait for news, one writes ten messages a second (PUT with transaction ids), one says what it has read
(POST), one uploads files of some MB. Nothing is asked twice, but for a GET or a PUT on a kept connection that was
closed before anything came back, as every client does. Prints a line of JSON with what came of it: how many requests,
those that failed, messages that are there twice, messages that were acknowledged and are not there, the longest wait.
"""

import asyncio
import json
import sys
import time
from urllib.parse import quote

# Nobody waits for an answer for longer than this, unless the task says otherwise with "patience".
PATIENCE = 100
POLLERS = 4
# How long a request for news waits, in milliseconds.
NEWS = 10_000
FILE = 4 << 20


class Closed(Exception):
    """A kept connection was closed before anything of an answer came."""


class Client:
    """One kept connection."""

    def __init__(self, load, kind):
        self.load, self.kind = load, kind
        self.reader = self.writer = None

    async def once(self, method, path, body, kind):
        kept = self.writer is not None and not self.reader.at_eof()
        if not kept:
            if self.writer is not None:
                self.writer.close()
            self.reader, self.writer = await asyncio.open_connection(self.load.host, self.load.port)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.load.host}:{self.load.port}\r\n"
            f"Authorization: Bearer {self.load.token}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            self.writer.write(head.encode())
            for at in range(0, len(body), 1 << 18):
                self.writer.write(body[at : at + (1 << 18)])
                await self.writer.drain()
            status = await self.reader.readline()
            if not status:
                raise ConnectionResetError("closed without an answer")
        except ConnectionError as error:
            self.writer.close()
            self.writer = None
            if kept and method in ("GET", "PUT"):
                raise Closed from error
            raise
        headers = {}
        while (line := await self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            answer = b""
            while size := int(await self.reader.readline(), 16):
                answer += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            answer = await self.reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            self.writer.close()
            self.writer = None
        return int(status.split()[1]), answer

    async def ask(self, method, path, body=b"", kind="application/json"):
        began = time.monotonic()
        self.load.requests[self.kind] = self.load.requests.get(self.kind, 0) + 1
        try:
            async with asyncio.timeout(self.load.patience):
                try:
                    status, answer = await self.once(method, path, body, kind)
                except Closed:
                    status, answer = await self.once(method, path, body, kind)
        except Exception as error:  # noqa: BLE001: whatever it is, it is a request that failed
            status, answer = 0, repr(error).encode()
            self.writer = None
        took = time.monotonic() - began
        if self.kind != "news":
            self.load.longest = max(self.load.longest, took)
        if status == 429:
            # Synapse's own word for it, which says when to come again.
            self.load.slowed += 1
            await asyncio.sleep(json.loads(answer).get("retry_after_ms", 500) / 1000)
            return None
        if status != 200:
            self.load.failed.append(f"{self.kind}: {status} after {took:.1f} s: {answer[:200].decode(errors='replace')}")
            await asyncio.sleep(0.1)
            return None
        return json.loads(answer)


class Load:
    def __init__(self, task):
        self.host, self.port, self.token = task["host"], task["port"], task["token"]
        self.room, self.name = quote(task["room"]), task["name"]
        self.patience = task.get("patience", PATIENCE)
        self.requests, self.failed, self.longest = {}, [], 0.0
        self.acknowledged, self.over, self.last, self.slowed = [], False, None, 0

    async def news(self):
        client, since = Client(self, "news"), ""
        while not self.over:
            answer = await client.ask("GET", f"/_matrix/client/v3/sync?timeout={NEWS}{since}")
            if answer:
                since = "&since=" + quote(answer["next_batch"])

    async def write(self):
        client, number = Client(self, "message"), 0
        while not self.over:
            number += 1
            text = f"{self.name} {number}"
            body = json.dumps({"msgtype": "m.text", "body": text}).encode()
            path = f"/_matrix/client/v3/rooms/{self.room}/send/m.room.message/{quote(text)}"
            answer = await client.ask("PUT", path, body)
            if answer:
                self.acknowledged.append(text)
                self.last = answer["event_id"]
            await asyncio.sleep(0.1)

    async def read(self):
        client = Client(self, "receipt")
        while not self.over:
            if self.last:
                path = f"/_matrix/client/v3/rooms/{self.room}/receipt/m.read/{quote(self.last)}"
                await client.ask("POST", path, b"{}")
            await asyncio.sleep(0.2)

    async def upload(self):
        client = Client(self, "upload")
        while not self.over:
            await client.ask("POST", "/_matrix/media/v3/upload", bytes(FILE), "application/octet-stream")
            await asyncio.sleep(1)

    async def said(self):
        """How often each message of this load is in the room."""
        client, found, since = Client(self, "look"), {}, ""
        while True:
            path = f"/_matrix/client/v3/rooms/{self.room}/messages?dir=b&limit=1000{since}"
            answer = await client.ask("GET", path)
            if not answer or not answer["chunk"]:
                return found
            for event in answer["chunk"]:
                text = event["content"].get("body", "")
                if text.startswith(f"{self.name} "):
                    found[text] = found.get(text, 0) + 1
            if "end" not in answer:
                return found
            since = "&from=" + quote(answer["end"])

    async def run(self, until):
        tasks = [self.news() for _ in range(POLLERS)] + [self.write(), self.read(), self.upload()]
        tasks = [asyncio.ensure_future(task) for task in tasks]
        await until
        self.over = True
        await asyncio.gather(*tasks)
        found = await self.said()
        return {
            "requests": self.requests,
            "failed": self.failed,
            "twice": [text for text, count in found.items() if count > 1],
            "missing": [text for text in self.acknowledged if text not in found],
            "acknowledged": len(self.acknowledged),
            "slowed": self.slowed,
            "longest": round(self.longest, 2),
        }


async def main():
    task = json.loads(sys.stdin.readline())
    rest = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(await Load(task).run(rest)))


asyncio.run(main())
