// The connection to the gateway that served this page: one WebSocket, kept open, calls and events.

const PROTOCOL = 3;
const HELLO_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 30_000;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 15_000;
const TICKS_MISSED = 2;

/** A call failed: `code` of the protocol, or CLOSED or TIMEOUT when no answer came. */
export class CallError extends Error {
  constructor({ code = "UNKNOWN", message, retryable = false, retryAfterMs = 0 }) {
    super(message ?? "unknown error");
    Object.assign(this, { code, retryable, retryAfterMs });
  }
}

/** A random id; randomUUID exists only in secure contexts, and a LAN address is none. */
export function randomId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The page's own origin as a WebSocket address; nothing in the URL can change it. */
export function ownAddress() {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`;
}

export class Gateway {
  #socket = null;
  #calls = new Map();
  #lastId = 0;
  #seq = 0;
  #failures = 0;
  #secret = null;
  #retryTimer = 0;
  #watchTimer = 0;
  #silenceMs = 60_000;

  /** `on` gets state(state), hello(hello), event(name, payload), gap(). */
  constructor(on) {
    this.on = on;
    this.state = { kind: "stopped" };
  }

  /** Connects with `secret`, now and whenever the connection is lost. */
  start(secret) {
    this.#secret = secret;
    this.#failures = 0;
    this.#open();
  }

  /** Does not wait for the next attempt. */
  retryNow() {
    if (this.state.kind === "waiting") this.#open();
  }

  /** The result of a call. Rejects with CallError. */
  call(method, params, timeoutMs = CALL_TIMEOUT_MS) {
    if (this.state.kind !== "connected") {
      return Promise.reject(new CallError({ code: "CLOSED", message: "not connected" }));
    }
    return this.#send(method, params, timeoutMs);
  }

  #open() {
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#become({ kind: "connecting" });
    const socket = new WebSocket(ownAddress());
    this.#socket = socket;
    this.#watch(HELLO_TIMEOUT_MS);
    socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  #drop() {
    if (this.#socket) {
      this.#socket.onclose = this.#socket.onmessage = null;
      this.#socket.close();
      this.#socket = null;
    }
  }

  #take(frame) {
    if (this.state.kind === "connected") this.#watch(this.#silenceMs);
    if (frame.type === "res") return this.#settle(frame);
    if (frame.event === "connect.challenge") return void this.#introduce();
    if (Number.isInteger(frame.seq)) {
      const missed = this.#seq && frame.seq > this.#seq + 1;
      this.#seq = frame.seq;
      if (missed) this.on.gap();
    }
    this.on.event(frame.event, frame.payload);
  }

  async #introduce() {
    const params = {
      minProtocol: PROTOCOL,
      maxProtocol: PROTOCOL,
      client: { id: "webchat-ui", mode: "webchat", version: "1", platform: "web" },
      role: "operator",
      scopes: ["operator.read", "operator.write"],
      caps: [],
      // The gateway looks only at the one its mode asks for.
      auth: { token: this.#secret, password: this.#secret },
    };
    try {
      const hello = await this.#send("connect", params, HELLO_TIMEOUT_MS);
      this.#failures = this.#seq = 0;
      this.#silenceMs = TICKS_MISSED * hello.policy.tickIntervalMs;
      this.#watch(this.#silenceMs);
      this.#become({ kind: "connected" });
      this.on.hello(hello);
    } catch (error) {
      if (!/^(unauthorized|device identity required)/i.test(error.message)) return; // closed: tried again
      this.#drop();
      clearTimeout(this.#watchTimer);
      this.#become({ kind: "refused", reason: error.message });
    }
  }

  #send(method, params, timeoutMs) {
    const id = String(++this.#lastId);
    return new Promise((resolve, reject) => {
      const expire = () => {
        this.#calls.delete(id);
        reject(new CallError({ code: "TIMEOUT", message: `${method}: no answer` }));
      };
      this.#calls.set(id, { resolve, reject, timer: setTimeout(expire, timeoutMs) });
      this.#socket.send(JSON.stringify({ type: "req", id, method, params }));
    });
  }

  #settle({ id, ok, payload, error }) {
    const call = this.#calls.get(id);
    if (!call) return;
    this.#calls.delete(id);
    clearTimeout(call.timer);
    if (ok) call.resolve(payload);
    else call.reject(new CallError(error ?? {}));
  }

  #lost(code, reason) {
    clearTimeout(this.#watchTimer);
    this.#socket = null;
    const waitMs = this.#backoff();
    const why = reason || `code ${code}`;
    this.#become({ kind: "waiting", retryAt: Date.now() + waitMs, reason: why });
    this.#retryTimer = setTimeout(() => this.#open(), waitMs);
    for (const { reject, timer } of this.#calls.values()) {
      clearTimeout(timer);
      reject(new CallError({ code: "CLOSED", message: reason || "connection lost" }));
    }
    this.#calls.clear();
  }

  /** Longer after every failure, never the same for all: many pages must not return at once. */
  #backoff() {
    const longest = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures++);
    return longest * (0.5 + Math.random() / 2);
  }

  /** Gives the connection up when nothing is heard for so long: TCP alone may never tell. */
  #watch(silenceMs) {
    clearTimeout(this.#watchTimer);
    const giveUp = () => {
      this.#drop();
      this.#lost(4000, "no sign of life");
    };
    this.#watchTimer = setTimeout(giveUp, silenceMs);
  }

  #become(state) {
    this.state = state;
    this.on.state(state);
  }
}
