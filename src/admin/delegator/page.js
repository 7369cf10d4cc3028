// Asks delegator.json and draws its tree. What is asked stands in the address behind the #, so that it can be shared.
"use strict";

const at = (id) => document.getElementById(id);

// How many entries of a dtab, and addresses of a name, are shown; of the rest, the number.
const MOST_ENTRIES = 500;
const MOST_ADDRESSES = 20;

let routers = [];
let asking = null;

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

const chosen = () => routers.find((router) => router.label === at("router").value);
const arrow = (entry) => `${entry.prefix} => ${entry.dst}`;

// What became of a path, in words: [class, text]; nothing where the next step says it.
function result(node) {
  switch (node.type) {
    case "alt": return ["soft", "first of these that is there:"];
    case "union": return ["soft", "shared by weight:"];
    case "neg": return ["bad", "no such name"];
    case "fail": return ["bad", "fails on purpose"];
    case "empty": return ["bad", "no members"];
    case "pending": return ["bad", "pending: a namer has not answered"];
    case "exception": return ["bad", `failed: ${node.message}`];
    case "unexplored": return ["soft", "not explored: too much is not taken"];
    case "leaf": return bound(node.bound);
    default: return null;
  }
}

function bound({ addr, id, path }) {
  const rest = path === "/" ? "" : `, rest ${path}`;
  if (addr.meta.status) return ["good", `bound to ${id}${rest}: an empty answer with status ${addr.meta.status}`];
  const addresses = addr.addrs.slice(0, MOST_ADDRESSES).map(({ ip, port }) => `${ip.includes(":") ? `[${ip}]` : ip}:${port}`);
  if (addr.addrs.length > MOST_ADDRESSES) addresses.push(`${addr.addrs.length - MOST_ADDRESSES} more`);
  if (addresses.length === 0) return ["bad", `bound to ${id}${rest}: no endpoints`];
  return ["good", `bound to ${id}${rest}: ${addresses.join(", ")}`];
}

// A step with what is below it. Of a step that was not taken, nothing below was.
function step(node, base, before, aboveTaken) {
  const line = element("div", "");
  if (before) line.append(element("span", "weight", before), " ");
  line.append(element("code", "path", node.path));
  if (node.dentry) {
    const entry = arrow(node.dentry);
    line.append(" ", element("code", "entry", entry));
    if (!base.has(entry)) line.append(" ", element("span", "own", "from the override"));
  }
  const said = result(node);
  if (said) line.append(" ", element("span", said[0], said[1]));
  if (!node.taken && aboveTaken) line.append(" ", element("span", "soft", "(not taken)"));
  const item = element("li", node.taken ? "taken" : "skipped", line);
  const children = below(node).map(([child, weight]) => step(child, base, weight, node.taken));
  if (children.length > 0) item.append(element("ul", "", ...children));
  return item;
}

// The steps below one, each with its weight if it has one.
function below(node) {
  switch (node.type) {
    case "delegate": return [[node.delegate, ""]];
    case "alt": return node.alt.map((arm) => [arm, ""]);
    case "union": return node.union.map(({ weight, tree }) => [tree, `${weight} ×`]);
    default: return [];
  }
}

function showError(text) {
  at("error").textContent = text;
  at("error").hidden = text === "";
}

function clear() {
  at("outcome").replaceChildren();
  at("answer").replaceChildren();
  at("answer").hidden = true;
  showError("");
}

function draw(tree) {
  const base = new Set((chosen()?.dtab ?? []).map(arrow));
  const leads = !/^([~!$]|pending|failed)/.test(tree.outcome);
  at("outcome").replaceChildren("Leads to ", element("b", leads ? "good" : "bad", tree.outcome));
  at("answer").replaceChildren(element("ul", "", step(tree, base, "", true)));
  at("answer").hidden = false;
}

async function ask() {
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  clear();
  at("outcome").textContent = "Asking…";
  const question = { namespace: at("router").value, path: at("path").value, dtab: at("override").value };
  try {
    const response = await fetch("delegator.json", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(question),
      signal: mine.signal,
    });
    const isTree = response.headers.get("Content-Type") === "application/json";
    const answer = isTree ? await response.json() : await response.text();
    if (asking !== mine) return;
    clear();
    if (isTree) draw(answer);
    else showError(answer.trimEnd());
  } catch (error) {
    if (asking !== mine) return;
    clear();
    showError(`The router does not answer: ${error.message}`);
  }
}

function showRouter() {
  const router = chosen();
  if (!router) return;
  const entries = router.dtab.slice(0, MOST_ENTRIES).map((entry) => element("li", "", element("code", "", arrow(entry))));
  if (router.dtab.length > MOST_ENTRIES) {
    entries.push(element("li", "soft", `${router.dtab.length - MOST_ENTRIES} more`));
  }
  at("entries").replaceChildren(...entries);
  at("prefix").textContent = router.dstPrefix;
  at("path").placeholder = `${router.dstPrefix === "/" ? "" : router.dstPrefix}/world`;
}

// Takes over what stands behind the #, and asks if it says what.
function follow() {
  const said = new URLSearchParams(location.hash.slice(1));
  if (routers.some((router) => router.label === said.get("router"))) at("router").value = said.get("router");
  at("path").value = said.get("path") ?? "";
  at("override").value = said.get("dtab") ?? "";
  showRouter();
  if (at("path").value) ask();
  else {
    asking?.abort();
    asking = null;
    clear();
  }
}

function submit(event) {
  event.preventDefault();
  const said = new URLSearchParams({ router: at("router").value, path: at("path").value });
  if (at("override").value) said.set("dtab", at("override").value);
  const hash = `#${said}`;
  if (location.hash === hash) ask();
  else location.hash = hash;
}

async function start() {
  at("question").addEventListener("submit", submit);
  at("router").addEventListener("change", showRouter);
  addEventListener("hashchange", follow);
  try {
    routers = await (await fetch("routers.json")).json();
  } catch (error) {
    showError(`The router does not answer: ${error.message}`);
    return;
  }
  at("router").replaceChildren(...routers.map(({ label }) => element("option", "", label)));
  follow();
}

start();
