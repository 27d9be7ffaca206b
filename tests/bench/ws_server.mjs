// The yardstick: npm ws in one Node process, answering what gatewayd answers, byte for byte.
//
// node ws_server.mjs PAYLOADS.json   {"answers": {METHOD: PAYLOAD},
//                                     "broadcasts": {METHOD: {"event": NAME, "payload": PAYLOAD}}}
// Prints the port on the first line of stdout.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../peers/package.json', import.meta.url));
const { WebSocketServer } = require('ws');

const payloads = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4096 });
let seq = 0;

function broadcast({ event, payload }) {
  seq += 1;
  const text = JSON.stringify({ type: 'event', event, payload, seq });
  for (const client of server.clients) client.send(text);
}

function answer(socket, text) {
  const request = JSON.parse(text);
  const payload = payloads.answers[request.method];
  const ok = payload !== undefined;
  socket.send(JSON.stringify({ type: 'res', id: request.id, ok, payload }));
  const event = payloads.broadcasts[request.method];
  if (event) broadcast(event);
}

server.on('connection', (socket) => {
  socket.on('error', () => socket.terminate());
  socket.on('message', (text) => answer(socket, text));
});
server.on('listening', () => console.log(server.address().port));
