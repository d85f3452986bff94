"""Two people talk, through a client library that is not ours (matrix-nio).

    nio_client.py talk < TASK.json

The task has "homeserver", "alice" and "bob" (each with "user" and "password", and
"homeserver" where it is another one), "message", and "encrypted". Alice makes a room, invites Bob and sends the
message; Bob joins and waits for it. Prints a line of JSON with what Bob read.
"""

import asyncio
import json
import sys
import tempfile

from nio import (
    AsyncClient,
    AsyncClientConfig,
    InviteMemberEvent,
    LoginResponse,
    RoomCreateResponse,
    RoomMessageText,
    RoomSendResponse,
)

PATIENCE = 60


async def log_in(task: dict, who: str, store: str) -> AsyncClient:
    config = AsyncClientConfig(encryption_enabled=task["encrypted"], store_sync_tokens=True)
    homeserver = task[who].get("homeserver") or task["homeserver"]
    client = AsyncClient(homeserver, task[who]["user"], store_path=store, config=config)
    answer = await client.login(task[who]["password"], device_name="e2e")
    assert isinstance(answer, LoginResponse), f"login of {who}: {answer}"
    return client


async def sync(client: AsyncClient) -> None:
    """What a client does all the time: ask for news, keep keys up to date."""
    await client.sync(timeout=1000, full_state=False)
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


async def talk(task: dict, folder: str) -> dict:
    alice = await log_in(task, "alice", tempfile.mkdtemp(dir=folder))
    bob = await log_in(task, "bob", tempfile.mkdtemp(dir=folder))
    read: list[str] = []
    invited: list[str] = []
    bob.add_event_callback(lambda room, event: read.append((event.body, event.decrypted)), RoomMessageText)
    bob.add_event_callback(lambda room, event: invited.append(room.room_id), InviteMemberEvent)
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
        await wait_for(
            alice,
            "Bob's joining",
            lambda: room.room_id in alice.rooms and bob.user_id in alice.rooms[room.room_id].users
            and not alice.rooms[room.room_id].users[bob.user_id].invited,
        )
        if task["encrypted"]:
            await sync(alice)
            assert alice.rooms[room.room_id].encrypted, "the room is not encrypted"
        sent = await alice.room_send(
            room.room_id,
            "m.room.message",
            {"msgtype": "m.text", "body": task["message"]},
            ignore_unverified_devices=True,
        )
        assert isinstance(sent, RoomSendResponse), f"sending: {sent}"
        await wait_for(bob, "the message", lambda: task["message"] in [body for body, _ in read])
        decrypted = dict(read)[task["message"]]
        return {"room": room.room_id, "event": sent.event_id, "read": task["message"], "decrypted": decrypted}
    finally:
        await alice.close()
        await bob.close()


def main() -> None:
    task = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(talk(task, folder))))


main()
