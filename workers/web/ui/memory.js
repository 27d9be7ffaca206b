// What the browser keeps for this page: the secret, and messages the gateway has not confirmed.

const SECRET = "gatewayd.secret";
const UNSENT = "gatewayd.unsent";

/** The secret from the link (`#token=…`, then taken out of the address), else the kept one. */
export function takeSecret() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  // The query goes too: nothing in it counts, and it may hold what nobody shall see.
  if (location.hash || location.search) history.replaceState(null, "", location.pathname);
  if (given) keepSecret(given);
  return given ?? read(localStorage, SECRET);
}

export function keepSecret(secret) {
  write(localStorage, SECRET, secret);
}

export function forgetSecret() {
  write(localStorage, SECRET, null);
}

/** Own messages that have not ended, kept for a reload of this tab. */
export function keepUnsent(turns) {
  const kept = turns.map(({ runId, text, state }) => ({ runId, text, state }));
  write(sessionStorage, UNSENT, kept.length ? JSON.stringify(kept) : null);
}

export function unsent() {
  try {
    return JSON.parse(read(sessionStorage, UNSENT) ?? "[]");
  } catch {
    return [];
  }
}

// A browser may forbid storage; then nothing is kept, and the page works until it is reloaded.

function read(storage, name) {
  try {
    return storage.getItem(name);
  } catch {
    return null;
  }
}

function write(storage, name, value) {
  try {
    if (value === null) storage.removeItem(name);
    else storage.setItem(name, value);
  } catch {
    // Forbidden or full.
  }
}
