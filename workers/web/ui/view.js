// Draws the conversation; keeps what has not changed, so that reading and selecting stay possible.

import { ABORTED, FAILED, QUEUED, RUNNING, textOf } from "./conversation.js";
import { render } from "./markdown.js";

const NEAR_END_PX = 80;
const SPEAKERS = { user: "You", assistant: "Agent", note: "Note" };

export class View {
  #drawn = new Map();
  #frame = 0;

  /** `onRepeat(text)` is called when a message that failed shall be sent again. */
  constructor({ log, scroller, welcome, onRepeat }) {
    Object.assign(this, { log, scroller, welcome, onRepeat });
  }

  /** Draws with the next frame of the screen, once for however many changes. */
  draw(conversation, isConnected) {
    cancelAnimationFrame(this.#frame);
    const now = () => this.#draw(conversation, isConnected);
    // A hidden page gets no frames, yet its reader may be a screen reader or a test.
    if (document.hidden) now();
    else this.#frame = requestAnimationFrame(now);
  }

  #draw(conversation, isConnected) {
    const isAtEnd = this.#isAtEnd();
    const rows = [...historyRows(conversation), ...conversation.turns.flatMap(turnRows)];
    const kept = new Map();
    let before = null;
    for (const row of rows) {
      const known = this.#drawn.get(row.key);
      const isSame = known && known.row.version === row.version;
      const node = isSame ? known.node : this.#node(row, known?.node);
      kept.set(row.key, { row, node });
      const place = before ? before.nextSibling : this.log.firstChild;
      if (node !== place) this.log.insertBefore(node, place);
      before = node;
    }
    for (const [key, { node }] of this.#drawn) if (!kept.has(key)) node.remove();
    this.#drawn = kept;
    this.welcome.hidden = rows.length > 0 || !isConnected;
    if (isAtEnd) this.scrollToEnd();
  }

  scrollToEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #isAtEnd() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  #node(row, known) {
    const node = known ?? document.createElement("article");
    node.className = `${row.role} ${row.state ?? ""}`.trim();
    node.setAttribute("aria-label", SPEAKERS[row.role]);
    // A reader that speaks aloud waits until the answer is whole.
    node.setAttribute("aria-busy", String(row.state === RUNNING));
    if (row.role === "assistant") node.replaceChildren(...render(row.text));
    else node.replaceChildren(row.text);
    if (row.state === RUNNING && !row.text) node.replaceChildren(dots());
    if (row.repeat) node.append(this.#repeat(row.repeat));
    return node;
  }

  #repeat(text) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Send again";
    button.onclick = () => this.onRepeat(text);
    return button;
  }
}

const PARTS = { user: "said", assistant: "answer" };
const WHY_STOPPED = { timeout: "Took too long and was stopped." };

/** A row's key stays when its turn becomes history, so that its node stays, too. */
function row(part, id, role, text, state = "", repeat = null) {
  return { key: `${part} ${id}`, version: `${role} ${state} ${text}`, role, text, state, repeat };
}

function historyRows(conversation) {
  return conversation.history.flatMap((message, index) => {
    const { role, runId, stopReason } = message;
    const text = textOf(message);
    const id = runId ?? index;
    const repeat = role === "system" && runId ? conversation.saidIn(runId) : null;
    const kind = PARTS[role] ? role : "note";
    const state = repeat ? FAILED : "";
    const rows = text ? [row(PARTS[role] ?? "note", id, kind, text, state, repeat)] : [];
    if (stopReason === ABORTED) rows.push(row("note", id, "note", "Stopped."));
    return rows;
  });
}

function turnRows({ runId, text, answer, state, note, isOwn, isInHistory, isAnswered, isDelayed }) {
  const rows = [];
  const isRunning = state === RUNNING;
  if (text !== null && !isInHistory) {
    rows.push(row("said", runId, "user", text, state === QUEUED ? QUEUED : ""));
  }
  if (isRunning || (answer && !isAnswered)) {
    rows.push(row("answer", runId, "assistant", answer, isRunning ? RUNNING : ""));
  }
  if (state === QUEUED && isDelayed) {
    rows.push(row("note", runId, "note", "Will be sent when the gateway is back."));
  }
  if (state === ABORTED) rows.push(row("note", runId, "note", WHY_STOPPED[note] ?? "Stopped."));
  if (state === FAILED) {
    const why = `No answer: ${note || "unknown error"}`;
    rows.push(row("note", runId, "note", why, FAILED, isOwn ? text : null));
  }
  return rows;
}

function dots() {
  const node = document.createElement("span");
  node.className = "dots";
  node.append(...[0, 1, 2].map(() => document.createElement("span")));
  return node;
}
