"""kill -9 of the channels worker: nothing lost, nothing twice, never confirmed before kept."""

import random
import signal
from pathlib import Path

import pytest

from tests.kit.eventually import eventually, run
from tests.workers.channels.bot_api import BotApi, Failure, bot_api
from tests.workers.channels.stand_in_front import ChannelsProcess, channels_worker
from tests.workers.channels.test_worker import settings

pytestmark = pytest.mark.processes


def watch_confirmations(api: BotApi, worker: ChannelsProcess):
    """Notes every confirmation of an update that the inbox does not hold yet."""
    early = []

    def confirmed(offset: int):
        kept = {int(row[0]) for row in worker.rows("SELECT update_key FROM inbox")}
        ours = {update["update_id"] for update in api.updates if update["update_id"] < offset}
        early.extend(ours - kept)

    api.on_confirm = confirmed
    return early


def test_a_run_under_way_is_taken_up_again(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, worker):
            front.is_holding = True
            api.say("hello")
            await eventually(lambda: front.held, "the agent is asked")
            await worker.kill()
            front.held.clear()
            front.is_holding = False
            await worker.start()
            await api.until(lambda: api.texts() == ["echo: hello"])
            assert len({params["idempotencyKey"] for params in front.asked}) == 1

    run(test())


def test_what_was_never_attempted_is_sent_once(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (_, worker):
            api.failures["sendMessage"].append(Failure(429, "slow down", retry_after=2))
            api.say("hello")
            await eventually(
                lambda: worker.rows("SELECT state, attempt_count FROM outbox") == [("new", 1)],
                "postponed",
            )
            await worker.kill()
            await worker.start()
            await api.until(api.texts)
            await eventually(lambda: worker.rows("SELECT state FROM outbox") == [("sent",)], "sent")
            assert api.texts() == ["echo: hello"]

    run(test())


def test_a_send_with_unknown_end_is_made_once_more_and_marked(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (_, worker):
            api.failures["sendMessage"].append(Failure(500, cuts=True, takes_effect=True))
            api.failures["sendMessage"].append(Failure(500, cuts=True, takes_effect=True))
            api.say("hello")
            api.say("again")
            await api.until(lambda: len(api.texts()) == 3)
            assert api.texts() == ["echo: hello", "echo: hello", "echo: again"]
            await eventually(
                lambda: (
                    worker.rows("SELECT state FROM outbox ORDER BY id")
                    == [("reconciled",), ("sent",)]
                ),
                "marked",
            )
            assert "sent once more" in worker.log()

    run(test())


def test_killed_at_random_moments_every_message_is_answered(tmp_path: Path):
    """Exactly once, but for sends that a kill cut off: those at most twice, and marked."""
    chance = random.Random(5)
    message_count, kill_count = 60, 8

    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (_, worker):
            early = watch_confirmations(api, worker)
            for number in range(message_count):
                api.say(f"m{number}", chat=42 + number % 2)
            for kill in range(kill_count):
                wanted = kill * message_count // kill_count + chance.randrange(5)
                await eventually(lambda wanted=wanted: len(api.sent) >= wanted, "progress")
                await worker.kill()
                await worker.start()
            everything = {f"echo: m{number}" for number in range(message_count)}
            await api.until(lambda: everything <= {m["text"] for m in api.sent}, 40)
            await eventually(
                lambda: set(worker.rows("SELECT state FROM inbox")) == {("answered",)}, "answered"
            )
            await eventually(
                lambda: (
                    set(worker.rows("SELECT state FROM outbox")) <= {("sent",), ("reconciled",)}
                ),
                "delivered",
            )
            doubled = [text for text in everything if sum(m["text"] == text for m in api.sent) > 1]
            marked = {
                row[0] for row in worker.rows("SELECT text FROM outbox WHERE state='reconciled'")
            }
            assert early == []
            assert set(doubled) <= marked
            assert len(api.sent) <= message_count + len(marked)
            for chat in (42, 43):
                order = list(dict.fromkeys(api.texts(chat)))
                assert order == sorted(order, key=lambda text: int(text.removeprefix("echo: m")))
            assert api.conflict_count == 0

    run(test(), 90)


def test_a_successor_polls_only_after_its_predecessor_is_gone(tmp_path: Path):
    async def test():
        async with (
            bot_api() as api,
            channels_worker(tmp_path, settings(api, pollSeconds=50)) as (front, worker),
        ):
            await api.until(lambda: len(api.offsets) == 2)
            first_pid, polls = worker.pid, len(api.offsets)
            first = worker._process
            await worker.start()  # a second process of the same profile
            await eventually(lambda: front.ready and front.ready.pid != first_pid, "both are there")
            assert len(api.offsets) == polls
            first.kill()
            await first.wait()
            await api.until(lambda: len(api.offsets) > polls)
            assert api.conflict_count == 0

    run(test())


def test_a_replaced_worker_hands_over_without_a_loss_or_a_conflict(tmp_path: Path):
    async def test():
        async with bot_api() as api, channels_worker(tmp_path, settings(api)) as (front, worker):
            front.is_holding = True
            api.say("hello")
            await eventually(lambda: front.held, "the agent is asked")
            first, first_pid = worker._process, worker.pid
            await worker.start()  # its successor
            await eventually(lambda: front.ready and front.ready.pid != first_pid, "both are there")
            first.send_signal(signal.SIGUSR1)
            assert await first.wait() == 0
            front.held.clear()
            front.release()
            api.say("again")
            await api.until(lambda: api.texts() == ["echo: hello", "echo: again"])
            assert api.conflict_count == 0

    run(test())
