"""Two people talk, through a client library that is not ours (matrix-nio).

    nio_client.py talk < TASK.json
    nio_client.py begin FOLDER < TASK.json
    nio_client.py go-on FOLDER < TASK.json

The task has "homeserver", "alice" and "bob" (each with "user" and "password", and
"homeserver" where it is another one), "message", and "encrypted". Alice makes a room, invites Bob and sends the
message; Bob joins and waits for it. Prints a line of JSON with what Bob read.

"begin" does the same and keeps all that the two clients know in FOLDER. "go-on" is the same two
clients, started again with what they know: they read what was said before, and answer each other in the same
room. A third person, "carol", whom neither of them knows, logs in for the first time, is invited and spoken to, which
takes one-time keys.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from nio import (
    AsyncClient,
    AsyncClientConfig,
    InviteMemberEvent,
    LoginResponse,
    MegolmEvent,
    RoomCreateResponse,
    RoomInviteResponse,
    RoomMessagesResponse,
    RoomMessageText,
    RoomSendResponse,
    SyncResponse,
)

PATIENCE = 60
# How long everything may take: nio asks a server that is away again and again.
AT_ALL = 420


async def log_in(task: dict, who: str, store: str) -> AsyncClient:
    config = AsyncClientConfig(encryption_enabled=task["encrypted"], store_sync_tokens=True)
    homeserver = task[who].get("homeserver") or task["homeserver"]
    client = AsyncClient(homeserver, task[who]["user"], store_path=store, config=config)
    answer = await client.login(task[who]["password"], device_name="e2e")
    assert isinstance(answer, LoginResponse), f"login of {who}: {answer}"
    return client


async def sync(client: AsyncClient) -> None:
    """What a client does all the time: ask for news, keep keys up to date."""
    answer = await client.sync(timeout=1000, full_state=False)
    if isinstance(answer, SyncResponse) and answer.device_key_count.signed_curve25519 == 0 and client.olm:
        # nio takes a server that has none for one that does not say how many.
        client.olm.uploaded_key_count = 0
    if client.should_upload_keys:
        await client.keys_upload()
    if client.should_query_keys:
        await client.keys_query()
    await client.send_to_device_messages()


async def wait_for(client: AsyncClient, what: str, found) -> None:
    async def look() -> None:
        while not found():
            await sync(client)

    try:
        await asyncio.wait_for(look(), PATIENCE)
    except TimeoutError as error:
        raise AssertionError(f"{what} did not come in {PATIENCE} s") from error


async def say(client: AsyncClient, room: str, text: str) -> str:
    sent = await client.room_send(
        room, "m.room.message", {"msgtype": "m.text", "body": text}, ignore_unverified_devices=True
    )
    assert isinstance(sent, RoomSendResponse), f"sending: {sent}"
    return sent.event_id


def listen(client: AsyncClient) -> tuple[list, list]:
    """What it reads and to which rooms it is invited, from now on."""
    read: list[tuple[str, bool]] = []
    invited: list[str] = []
    client.add_event_callback(lambda room, event: read.append((event.body, event.decrypted)), RoomMessageText)
    client.add_event_callback(lambda room, event: invited.append(room.room_id), InviteMemberEvent)
    return read, invited


async def is_joined(client: AsyncClient, room: str, by: AsyncClient) -> None:
    def joined() -> bool:
        users = client.rooms[room].users if room in client.rooms else {}
        return by.user_id in users and not users[by.user_id].invited

    await wait_for(client, f"the joining of {by.user_id}", joined)


async def talk(task: dict, folder: str, keep: bool = False) -> dict:
    stores = {}
    for who in ("alice", "bob"):
        stores[who] = f"{folder}/{who}"
        Path(stores[who]).mkdir()
    alice = await log_in(task, "alice", stores["alice"])
    bob = await log_in(task, "bob", stores["bob"])
    read, invited = listen(bob)
    try:
        state = []
        if task["encrypted"]:
            content = {"algorithm": "m.megolm.v1.aes-sha2"}
            state = [{"type": "m.room.encryption", "state_key": "", "content": content}]
        await sync(bob)
        await sync(alice)
        room = await alice.room_create(name="Two people", invite=[bob.user_id], initial_state=state)
        assert isinstance(room, RoomCreateResponse), f"making a room: {room}"
        await wait_for(bob, "the invitation", lambda: room.room_id in invited)
        await bob.join(room.room_id)
        await wait_for(bob, "Bob's own joining", lambda: room.room_id in bob.rooms)
        await is_joined(alice, room.room_id, bob)
        if task["encrypted"]:
            await sync(alice)
            assert alice.rooms[room.room_id].encrypted, "the room is not encrypted"
        event = await say(alice, room.room_id, task["message"])
        await wait_for(bob, "the message", lambda: task["message"] in [body for body, _ in read])
        if keep:
            known = {who: remembered(client) for who, client in (("alice", alice), ("bob", bob))}
            Path(f"{folder}/known.json").write_text(json.dumps(known))
        decrypted = dict(read)[task["message"]]
        return {"room": room.room_id, "event": event, "read": task["message"], "decrypted": decrypted}
    finally:
        await alice.close()
        await bob.close()


def remembered(client: AsyncClient) -> dict:
    return {"user": client.user_id, "device": client.device_id, "token": client.access_token}


async def go_on(task: dict, folder: str) -> dict:
    known = json.loads(Path(f"{folder}/known.json").read_text())
    clients = {}
    try:
        for who in ("alice", "bob"):
            config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
            client = AsyncClient(
                task["homeserver"], known[who]["user"], store_path=f"{folder}/{who}", config=config
            )
            # No login: the token and the keys that it had.
            client.restore_login(known[who]["user"], known[who]["device"], known[who]["token"])
            clients[who] = client
        alice, bob = clients["alice"], clients["bob"]
        (by_alice, _), (by_bob, _) = listen(alice), listen(bob)
        room = task["room"]
        for client in (alice, bob):
            await client.sync(timeout=1000, full_state=True)
            await sync(client)
        # What was said before, out of the server's history.
        page = await bob.room_messages(room, start=bob.next_batch, limit=50)
        assert isinstance(page, RoomMessagesResponse), f"reading the history: {page}"
        before = {e.body: e.decrypted for e in page.chunk if isinstance(e, RoomMessageText)}
        unread = [e.event_id for e in page.chunk if isinstance(e, MegolmEvent)]
        assert not unread, f"not decrypted: {unread}"
        await say(bob, room, "bob goes on")
        await wait_for(alice, "Bob's message", lambda: ("bob goes on", True) in by_alice)
        await say(alice, room, "alice goes on")
        await wait_for(bob, "Alice's message", lambda: ("alice goes on", True) in by_bob)
        Path(f"{folder}/carol").mkdir()
        carol = clients["carol"] = await log_in(task, "carol", f"{folder}/carol")
        by_carol, invited = listen(carol)
        await sync(carol)
        answer = await alice.room_invite(room, carol.user_id)
        assert isinstance(answer, RoomInviteResponse), f"inviting: {answer}"
        await wait_for(carol, "the invitation", lambda: room in invited)
        await carol.join(room)
        await wait_for(carol, "Carol's own joining", lambda: room in carol.rooms)
        for client in (alice, bob):
            await is_joined(client, room, carol)
            await sync(client)
        await carol.sync(timeout=1000, full_state=True)
        await sync(carol)
        # Nobody has a session with whom they meet first: these cost one-time keys of
        # Alice's and Bob's, which have to be ones that they still know.
        await say(carol, room, "carol is here")
        for who, client, read in (("Alice", alice, by_alice), ("Bob", bob, by_bob)):
            await wait_for(client, f"Carol's message to {who}", lambda read=read: ("carol is here", True) in read)
        await say(alice, room, "hello carol")
        await wait_for(carol, "Alice's message to Carol", lambda: ("hello carol", True) in by_carol)
        return {"before": before, "alice": dict(by_alice), "bob": dict(by_bob), "carol": dict(by_carol)}
    finally:
        for client in clients.values():
            await client.close()


async def within(work) -> dict:
    return await asyncio.wait_for(work, AT_ALL)


def main() -> None:
    task = json.load(sys.stdin)
    verb, *folder = sys.argv[1:]
    if verb == "talk":
        with tempfile.TemporaryDirectory() as temporary:
            print(json.dumps(asyncio.run(within(talk(task, temporary)))))
    elif verb == "begin":
        print(json.dumps(asyncio.run(within(talk(task, folder[0], keep=True)))))
    elif verb == "go-on":
        print(json.dumps(asyncio.run(within(go_on(task, folder[0])))))
    else:
        sys.exit(f"nobody knows how to {verb}")


main()
