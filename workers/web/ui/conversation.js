// What was said, and what is being said: history from the gateway, and the turns since. Pure.

/** A turn is one message of ours (or someone else's run) and the answer to it. */
export const QUEUED = "queued"; // the gateway has not confirmed it
export const RUNNING = "running";
export const DONE = "done";
export const FAILED = "failed";
export const ABORTED = "aborted";
const ENDED = [DONE, FAILED, ABORTED];

/** The text of a message as the protocol has it. */
export function textOf(message) {
  const content = message?.content ?? message?.text ?? "";
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.filter((part) => part.type === "text").map((part) => part.text).join("\n\n");
}

export class Conversation {
  constructor() {
    this.history = [];
    this.turns = [];
  }

  /** Our own message, to be sent. */
  say(runId, text) {
    const turn = { runId, text, answer: "", state: QUEUED, isOwn: true, isInHistory: false };
    this.turns.push(turn);
    return turn;
  }

  /** The turn of a run, if it is not history yet. */
  turn(runId) {
    return this.turns.find((turn) => turn.runId === runId);
  }

  /** The turns that have not ended. */
  open() {
    return this.turns.filter((turn) => !ENDED.includes(turn.state));
  }

  /** Those that are being answered now. */
  running() {
    return this.turns.filter((turn) => turn.state === RUNNING);
  }

  /** Takes a turn out, because it will be said again. */
  forget(turn) {
    this.turns = this.turns.filter((other) => other !== turn);
  }

  /** The gateway's confirmation of a message; a run it knows to be over becomes done. */
  confirm(turn, status) {
    if (ENDED.includes(turn.state)) return;
    turn.state = ["started", "in_flight", "accepted"].includes(status) ? RUNNING : DONE;
  }

  /** The end of a run; the first end counts. */
  end(turn, state, note = "") {
    if (ENDED.includes(turn.state)) return;
    Object.assign(turn, { state, note });
  }

  /** A chat event. Returns the turn it is about, a new one for a run of somebody else. */
  apply({ runId, state, message, errorMessage, stopReason }) {
    const known = this.turn(runId);
    if (known && ENDED.includes(known.state)) return known;
    const turn = known ?? { runId, text: null, answer: "", state: RUNNING, isOwn: false };
    if (!known) this.turns.push(turn);
    if (message) turn.answer = textOf(message);
    if (state === "delta") turn.state = RUNNING;
    if (state === "final") this.end(turn, DONE);
    if (state === "error") this.end(turn, FAILED, errorMessage);
    if (state === "aborted") this.end(turn, ABORTED, stopReason);
    return turn;
  }

  /** Takes the history the gateway keeps; what it contains is not shown a second time. */
  adopt(messages) {
    this.history = messages;
    const known = new Set(messages.map(({ runId }) => runId));
    const answers = messages.filter(({ role }) => role !== "user");
    const answered = new Set(answers.map(({ runId }) => runId));
    const isHistory = ({ runId, state }) => ENDED.includes(state) && known.has(runId);
    this.turns = this.turns.filter((turn) => !isHistory(turn));
    for (const turn of this.turns) {
      turn.isInHistory = known.has(turn.runId);
      turn.isAnswered = answered.has(turn.runId);
    }
  }

  /** What was said in the run, by the history. */
  saidIn(runId) {
    const said = this.history.find((message) => message.role === "user" && message.runId === runId);
    return said && textOf(said);
  }
}
