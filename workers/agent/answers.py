"""What callers are told about a run, from its row in the ledger. Pure."""

from typing import Any

from bus.errors import UNAVAILABLE, RpcError
from workers.agent.contract import Usage
from workers.agent.ledger import RunState
from workers.agent.records import Run


def accepted(run: Run) -> dict[str, Any]:
    """The first answer of `agent`."""
    return {"runId": run.run_id, "status": "accepted", "acceptedAt": run.accepted_at}


def result(text: str, agent_meta: dict[str, Any], stop_reason: str | None, ms: int) -> Any:
    """What is stored as the result of a run that ended well."""
    meta: dict[str, Any] = {"durationMs": ms, "agentMeta": agent_meta}
    if stop_reason is not None:
        meta["stopReason"] = stop_reason
    payloads = [{"text": text, "mediaUrl": None}] if text else []
    return {"payloads": payloads, "meta": meta}


def usage(counted: Usage) -> dict[str, int]:
    """Token counts with the names clients know."""
    total = counted.total_tokens or counted.input_tokens + counted.output_tokens
    return {"input": counted.input_tokens, "output": counted.output_tokens, "total": total}


def final(run: Run) -> dict[str, Any]:
    """The final answer of `agent`. Raises the RpcError of a run that did not end well."""
    if run.state is RunState.OK:
        return {
            "runId": run.run_id,
            "status": "ok",
            "summary": "completed",
            "result": run.result,
        }
    raise _failure(run)


def sent(run: Run) -> dict[str, Any]:
    """The answer to a repeated `chat.send`. Raises the RpcError of a run that failed."""
    if run.state in (RunState.ACCEPTED, RunState.RUNNING):
        return {"runId": run.run_id, "status": "in_flight"}
    if run.state in (RunState.OK, RunState.ABORTED):  # an abort is what the person wanted
        return {"runId": run.run_id, "status": "ok"}
    raise _failure(run)


def waited(run_id: str, run: Run | None) -> dict[str, Any]:
    """The answer of `agent.wait`; None: it has not ended."""
    if run is None:
        return {"runId": run_id, "status": "timeout"}
    answer: dict[str, Any] = {"runId": run_id, "endedAt": run.ended_at}
    answer["status"] = "ok" if run.state is RunState.OK else "error"
    if run.started_at is not None:
        answer["startedAt"] = run.started_at
    if run.state is not RunState.OK:
        answer["error"] = run.error
    return answer


def _failure(run: Run) -> RpcError:
    text = run.error or "the run failed"
    payload = {"runId": run.run_id, "status": "error", "summary": text}
    return RpcError(UNAVAILABLE, text, payload=payload)
