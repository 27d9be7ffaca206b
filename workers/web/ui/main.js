// The web chat: joins the page, the connection and the conversation.

import { ABORTED, Conversation, DONE, FAILED, QUEUED, RUNNING } from "./conversation.js";
import { CallError, Gateway, randomId } from "./gateway.js";
import { takeSecret, forgetSecret, keepSecret, keepUnsent, unsent } from "./memory.js";
import { View } from "./view.js";

const HISTORY_LIMIT = 200;
const WAIT_MS = 30_000;
const RETRY_MS = 1_000;
const EVENT_GRACE_MS = 400;

const parts = new Proxy({}, { get: (_, id) => document.getElementById(id) });
const conversation = new Conversation();
const followed = new Set();
let sessionKey = null;
let sessionNames = new Set();
let wasLost = false;

const gateway = new Gateway({ state: showState, hello: begin, event: hear, gap: refresh });
const view = new View({
  log: parts.log, scroller: parts.scroller, welcome: parts.welcome,
  onRepeat: (text) => {
    const isThis = (turn) => turn.state === FAILED && turn.text === text;
    conversation.turns.filter(isThis).forEach((turn) => conversation.forget(turn));
    send(text);
  },
});

// What the gateway says

async function begin({ snapshot }) {
  const { mainSessionKey, mainKey } = snapshot.sessionDefaults ?? {};
  sessionKey = mainSessionKey ?? "main";
  sessionNames = new Set([sessionKey, mainKey ?? "main"]);
  showHealth(snapshot.health);
  call("status", {}).then(showProcesses, () => {});
  await refresh();
  wasLost = false;
}

/** Reads the history again and takes up every turn that has not ended. */
async function refresh() {
  try {
    const { messages } = await call("chat.history", { sessionKey, limit: HISTORY_LIMIT });
    conversation.adopt(messages);
    notice("");
  } catch (error) {
    if (error.code !== "CLOSED") notice(`The history cannot be read: ${error.message}`);
  }
  redraw();
  for (const turn of conversation.open()) {
    if (turn.state === QUEUED) deliver(turn);
    else follow(turn);
  }
}

function hear(name, payload) {
  if (name === "chat" && sessionNames.has(payload.sessionKey)) hearChat(payload);
  if (name === "health") {
    showHealth(payload);
    call("status", {}).then(showProcesses, () => {});
  }
  if (name === "shutdown") wasLost = true;
}

function hearChat(payload) {
  const turn = conversation.apply(payload);
  if (turn.state === RUNNING) follow(turn);
  else if (!turn.isOwn) refresh();
  keep();
  redraw();
}

// What the person says

function send(text) {
  const turn = conversation.say(randomId(), text);
  turn.isDelayed = gateway.state.kind !== "connected";
  keep();
  redraw();
  view.scrollToEnd();
  deliver(turn);
}

/** Sends a message until the gateway confirms or refuses it: the key makes it one run. */
async function deliver(turn) {
  if (turn.isBeingSent || gateway.state.kind !== "connected") return;
  turn.isBeingSent = true;
  const params = { sessionKey, message: turn.text, idempotencyKey: turn.runId };
  try {
    const { status } = await call("chat.send", params);
    conversation.confirm(turn, status);
  } catch (error) {
    turn.isDelayed = true;
    if (error.code !== "CLOSED") conversation.end(turn, FAILED, error.message);
  } finally {
    turn.isBeingSent = false;
  }
  if (turn.state === RUNNING) follow(turn);
  if (turn.state === DONE && !turn.answer) await refresh();
  keep();
  redraw();
}

/** Learns the end of a run even when its events were missed. */
async function follow(turn) {
  if (followed.has(turn.runId)) return;
  followed.add(turn.runId);
  try {
    let outcome = { status: "timeout" };
    while (outcome.status === "timeout" && turn.state === RUNNING) {
      outcome = await call("agent.wait", { runId: turn.runId, timeoutMs: WAIT_MS }, 2 * WAIT_MS);
    }
    await pause(EVENT_GRACE_MS); // the event says more, and is on its way
    if (turn.state === RUNNING) conclude(turn, outcome);
  } catch {
    // Lost: the next hello takes the turn up again.
  } finally {
    followed.delete(turn.runId);
  }
}

async function conclude(turn, { status, error }) {
  if (status === "ok") conversation.end(turn, DONE);
  else if (status === "aborted") conversation.end(turn, ABORTED);
  else conversation.end(turn, FAILED, error ?? status);
  keep();
  await refresh();
}

function abort() {
  for (const { runId } of conversation.running()) {
    call("chat.abort", { sessionKey, runId }).catch((error) => notice(error.message));
  }
}

/** A call that asks again while the gateway says that asking again may help. */
async function call(method, params, timeoutMs) {
  for (let left = 20; ; left -= 1) {
    try {
      return await gateway.call(method, params, timeoutMs);
    } catch (error) {
      if (!(error instanceof CallError && error.retryable && left > 0)) throw error;
      await pause(Math.max(error.retryAfterMs, RETRY_MS * Math.random()));
    }
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What the person sees

function redraw() {
  view.draw(conversation, gateway.state.kind === "connected");
  parts.stop.hidden = conversation.running().length === 0;
}

function showState(state) {
  const { kind } = state;
  if (kind === "waiting") {
    wasLost = true;
    for (const turn of conversation.turns) if (turn.state === QUEUED) turn.isDelayed = true;
  }
  parts.connection.dataset.state = kind;
  if (kind === "refused") askForSecret(state.reason);
  else if (kind === "connected") {
    parts["token-form"].hidden = true;
    delete document.body.dataset.view;
  }
  tell();
  redraw();
}

/** The connection in words; called every second for the countdown. */
function tell() {
  const { kind, retryAt, reason } = gateway.state;
  const seconds = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
  const words = {
    stopped: "Not connected",
    connecting: wasLost ? "Reconnecting…" : "Connecting…",
    connected: "Connected",
    waiting: "Connection lost",
    refused: "Not connected",
  };
  write(parts["connection-text"], words[kind]);
  const isOffline = kind === "waiting" || (kind === "connecting" && wasLost);
  const when = `Trying again in ${seconds} s.`;
  if (kind === "waiting") notice(`Connection lost (${reason}). ${when}`, true);
  else if (isOffline) notice("Connection lost. Trying again…", true);
  else if (!parts.retry.hidden) notice(""); // what is said without the button is not about this
}

function notice(text, canRetry = false) {
  parts.notice.hidden = !text;
  parts.retry.hidden = !canRetry;
  write(parts["notice-text"], text);
}

/** Changes a text only if it is another: a screen reader would say it again. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function showHealth(health) {
  if (health?.ok === undefined) return;
  parts.health.dataset.ok = health.ok;
  if (!health.ok) parts.health.textContent = (health.problems ?? ["something is wrong"]).join(", ");
}

function showProcesses({ processes = [], problems = [] }) {
  const good = processes.filter(({ state }) => ["running", "ready"].includes(state));
  const all = `${good.length} of ${processes.length} processes running`;
  parts.health.dataset.ok = problems.length === 0;
  parts.health.textContent = problems.length ? problems.join(", ") : all;
  parts.health.title = processes.map(({ name, state }) => `${name}: ${state}`).join("\n");
}

function askForSecret(reason) {
  forgetSecret();
  const isWrong = /mismatch/.test(reason);
  const wrong = "The gateway does not accept this one.";
  parts["token-error"].textContent = isWrong ? wrong : (reason ?? "");
  parts.connection.dataset.state = "stopped";
  parts["connection-text"].textContent = "Not connected";
  document.body.dataset.view = "token";
  parts["token-form"].hidden = false;
  parts.welcome.hidden = true;
  parts.token.focus();
}

function keep() {
  keepUnsent(conversation.open().filter(({ isOwn }) => isOwn));
}

function grow() {
  parts.message.style.height = "auto";
  parts.message.style.height = `${parts.message.scrollHeight}px`;
}

function submit(event) {
  event?.preventDefault();
  const text = parts.message.value.trim();
  if (!text) return;
  parts.message.value = "";
  grow();
  send(text);
}

parts.composer.addEventListener("submit", submit);
parts.message.addEventListener("input", grow);
parts.message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") abort();
});
parts.stop.addEventListener("click", abort);
parts.retry.addEventListener("click", () => gateway.retryNow());
parts["token-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  keepSecret(parts.token.value);
  parts["token-error"].textContent = "";
  gateway.start(parts.token.value);
  parts.token.value = "";
  parts.message.focus();
});
window.addEventListener("online", () => gateway.retryNow());
window.addEventListener("hashchange", start);
document.addEventListener("visibilitychange", () => document.hidden || gateway.retryNow());
setInterval(tell, 1000);

function start() {
  const secret = takeSecret();
  if (secret) gateway.start(secret);
  else if (gateway.state.kind !== "connected") askForSecret();
}

for (const { runId, text, state } of unsent()) {
  Object.assign(conversation.say(runId, text), { state });
}
start();
redraw();
if (matchMedia("(hover: hover)").matches && parts["token-form"].hidden) parts.message.focus();
