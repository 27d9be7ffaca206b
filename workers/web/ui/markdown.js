// Turns an answer's text into nodes: a few marks are understood, everything else stays text.

const FENCE = /^ {0,3}```/;
const HEADING = /^#{1,6} +(.+)$/;
const BULLET = /^\s*[-*•] +(.*)$/;
const NUMBER = /^\s*(\d{1,9})[.)] +(.*)$/;
// Each alternative stops at a line's end and is bounded, so that no text makes it slow.
const INLINE = new RegExp(
  [
    /`([^`\n]{1,2000})`/,
    /\*\*([^*\n]{1,2000})\*\*/,
    /\*([^*\s](?:[^*\n]{0,500}[^*\s])?)\*(?!\w)/,
    /\[([^\]\n]{1,300})\]\(([^)\s]{1,2000})\)/,
    /(https?:\/\/[^\s<>"'`)\]]{1,2000})/,
  ].map(({ source }) => source).join("|"),
  "g",
);

/** Nodes for `text`; nothing in it is ever read as markup. */
export function render(text) {
  return blocks(text.split("\n")).map(blockNode);
}

function element(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}

function blocks(lines) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) at += 1;
    else {
      const [block, next] = FENCE.test(lines[at]) ? code(lines, at) : prose(lines, at);
      found.push(block);
      at = next;
    }
  }
  return found;
}

function code(lines, start) {
  let end = start + 1;
  while (end < lines.length && !FENCE.test(lines[end])) end += 1;
  return [{ kind: "code", text: lines.slice(start + 1, end).join("\n") }, end + 1];
}

function kindOf(line) {
  if (HEADING.test(line)) return "heading";
  if (BULLET.test(line)) return "ul";
  return NUMBER.test(line) ? "ol" : "p";
}

function prose(lines, start) {
  const kind = kindOf(lines[start]);
  let end = start + 1;
  while (end < lines.length && lines[end].trim() && !FENCE.test(lines[end])) {
    const next = kindOf(lines[end]);
    if (kind === "heading" || (next !== kind && next !== "p")) break;
    if (next === "p" && kind !== "p" && !/^\s/.test(lines[end])) break;
    end += 1;
  }
  return [{ kind, lines: lines.slice(start, end) }, end];
}

function blockNode(block) {
  if (block.kind === "code") return element("pre", element("code", block.text));
  if (block.kind === "heading") return element("h3", ...inline(HEADING.exec(block.lines[0])[1]));
  if (block.kind === "p") return element("p", ...inline(block.lines.join("\n")));
  const list = element(block.kind, ...items(block.lines));
  const first = NUMBER.exec(block.lines[0]);
  if (block.kind === "ol" && first) list.start = Number(first[1]);
  return list;
}

function items(lines) {
  const texts = [];
  for (const line of lines) {
    const mark = BULLET.exec(line)?.[1] ?? NUMBER.exec(line)?.[2];
    if (mark === undefined) texts[texts.length - 1] += `\n${line.trim()}`;
    else texts.push(mark);
  }
  return texts.map((text) => element("li", ...inline(text)));
}

function inline(text) {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > done) nodes.push(text.slice(done, match.index));
    nodes.push(span(match));
    done = match.index + match[0].length;
  }
  if (done < text.length) nodes.push(text.slice(done));
  return nodes;
}

function span([whole, codeText, bold, stressed, label, target, bare]) {
  if (codeText !== undefined) return element("code", codeText);
  if (bold !== undefined) return element("strong", bold);
  if (stressed !== undefined) return element("em", stressed);
  return link(label ?? bare, target ?? bare) ?? whole;
}

/** A link to the web, or null: every other kind of address stays text. */
function link(label, target) {
  if (!URL.canParse(target)) return null;
  const url = new URL(target);
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  const node = element("a", label);
  node.href = url.href;
  node.target = "_blank";
  node.rel = "noopener noreferrer";
  return node;
}
