// Asks delegator.json and draws its tree. The form's values stand in the address behind the #, so that it can be shared.
"use strict";

const at = (id) => document.getElementById(id);

// The limits on the entries of a dtab, rows of a table, and addresses of a name that are shown; the rest is counted.
const MOST_ENTRIES = 500;
const MOST_ROWS = 500;
const MOST_ADDRESSES = 20;
// How often one path is drawn below itself, and how deep steps are drawn, before the rest is folded: it is a loop.
const MOST_ROUNDS = 3;
const MOST_DEPTH = 30;
// How many names are tried for one that leads somewhere.
const MOST_EXAMPLES = 12;
// How many keys and entries of sandboxes are shown.
const MOST_KEYS = 16;
const MOST_CHANGES = 50;

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

// The result of a path, in words: [class, text]; nothing where the next step shows it.
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
    case "cut": return ["bad", node.left ? `left out, as are ${node.left} after it: the answer is too large` : "left out: the answer is too large"];
    case "leaf": return bound(node.bound);
    default: return null;
  }
}

function bound({ addr, id, path }) {
  const rest = path === "/" ? "" : `, rest ${path}`;
  if (addr.meta.status) return ["good", `bound to ${id}${rest}: an empty answer with status ${addr.meta.status}`];
  const addresses = addr.addrs.slice(0, MOST_ADDRESSES).map(({ ip, port }) => `${ip.includes(":") ? `[${ip}]` : ip}:${port}`);
  const more = addr.addrs.length - addresses.length + (addr.left ?? 0);
  if (more > 0) addresses.push(`${more} more`);
  if (addresses.length === 0) return ["bad", `bound to ${id}${rest}: no endpoints`];
  return ["good", `bound to ${id}${rest}: ${addresses.join(", ")}`];
}

// The age of a namer's answer for a name: [class, text]; nothing where the namer does not tell.
function age(path, namers) {
  for (const [prefix, { names }] of Object.entries(namers)) {
    const name = path.startsWith(`/#/${prefix}/`) && names?.[path.slice(prefix.length + 3)];
    if (!name) continue;
    if (name.staleSeconds !== null) return ["bad", `(stale: no news of it for ${seconds(name.staleSeconds)})`];
    return ["soft", `(for ${seconds(name.sinceSeconds)})`];
  }
  return null;
}

// The entry that led to a step: its number in the dtab, as `signpost delegate` counts, and the entry. An answer says each
// entry and its origin once, at the first step that it led to.
function entryOf(node, { base, said }) {
  if (node.dentry) said.set(node.entry, node);
  const { dentry, origin } = said.get(node.entry) ?? {};
  const parts = [" ", element("span", "soft", `${node.entry + 1}:`), " "];
  if (dentry) parts.push(element("code", "entry", `${arrow(dentry)}${dentry.left ? ` (${dentry.left} more)` : ""}`));
  if (origin) parts.push(" ", element("span", "own", `from the ${origin}`));
  else if (node.entry >= base) parts.push(" ", element("span", "own", "from the override"));
  return parts;
}

// A step with the steps below it. Below a step that was not taken, no step was. `around` are the paths above; steps that
// go round are folded once.
function step(node, { base, namers, said, around = [] }, before, aboveTaken) {
  const line = element("div", "");
  if (before) line.append(element("span", "weight", before), " ");
  line.append(element("code", "path", node.path));
  if (node.entry !== undefined) line.append(...entryOf(node, { base, said }));
  const end = result(node);
  if (end) line.append(" ", element("span", end[0], end[1]));
  const old = node.type === "delegate" ? null : age(node.path, namers);
  if (old) line.append(" ", element("span", old[0], old[1]));
  if (!node.taken && aboveTaken) line.append(" ", element("span", "soft", "(not taken)"));
  const item = element("li", node.taken ? "taken" : "skipped", line);
  const isLoop = around !== null && (around.filter((path) => path === node.path).length >= MOST_ROUNDS || around.length >= MOST_DEPTH);
  const inner = around === null || isLoop ? null : [...around, node.path];
  const children = below(node).map(([child, weight]) => step(child, { base, namers, said, around: inner }, weight, node.taken));
  if (children.length === 0) return item;
  const list = element("ul", "", ...children);
  item.append(isLoop ? element("details", "", element("summary", "soft", "again, and so on"), list) : list);
  return item;
}

// The steps below one, each with its weight if it has one.
function below(node) {
  switch (node.type) {
    case "delegate": return [[node.delegate, ""]];
    case "alt": return node.alt.map((arm) => [arm, ""]);
    case "union": return node.union.map(({ weight, percent, tree }) => [tree, percent === undefined ? `${weight} ×` : `${weight} (${percent} %) ×`]);
    default: return [];
  }
}

function showError(text) {
  at("error").textContent = text;
  at("error").hidden = text === "";
}

function clear() {
  at("outcome").replaceChildren();
  showList("warnings", []);
  showList("listeners", []);
  at("following").hidden = true;
  showList("changes", []);
  at("changed").hidden = true;
  at("keep").hidden = true;
  at("answer").replaceChildren();
  at("answer").hidden = true;
  showError("");
}

// Shows texts as a list, or hides the list when there are none.
function showList(id, texts) {
  at(id).replaceChildren(...texts.map((text) => element("li", "", text)));
  at(id).hidden = texts.length === 0;
}

// "12 s", "3 min", "5 h".
function seconds(count) {
  if (count < 120) return `${Math.round(count)} s`;
  return count < 7200 ? `${Math.round(count / 60)} min` : `${Math.round(count / 3600)} h`;
}

// The text of a member of a row.
function cell(key, value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" && /seconds/i.test(key)) return seconds(value);
  return typeof value === "object" ? JSON.stringify(value) : `${value}`;
}

// A table of [name, members], with a column for each member that any of them has.
function table(title, rows) {
  const keys = [...new Set(rows.flatMap(([, members]) => Object.keys(members)))];
  const words = (key) =>
    key.replace(/^since/, "").replace(/Seconds(Ago)?/, (_, ago) => (ago ? " ago" : " for")).replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const head = element("tr", "", ...[title, ...keys.map(words)].map((text) => element("th", "", text)));
  const row = ([name, members]) => {
    const cells = keys.map((key) => element("td", "", cell(key, members[key])));
    return element("tr", members.staleSeconds ? "bad" : "", element("td", "", element("code", "", name)), ...cells);
  };
  const made = element("table", "", head, ...rows.slice(0, MOST_ROWS).map(row));
  if (rows.length > MOST_ROWS) made.append(element("caption", "soft", `${rows.length - MOST_ROWS} more`));
  return made;
}

async function asked(page) {
  const response = await fetch(page);
  if (!response.ok) throw new Error(`${page}: ${response.status}`);
  return response.json();
}

// Draws the state of the namers, as far as there is any, while its section is open.
async function showKnown() {
  if (!at("known").open) return;
  try {
    const [namers, watches] = await Promise.all([asked("namer_state.json"), asked("watches.json")]);
    drawKnown(namers, watches.map(({ watch, server, ...members }) => [watch, members]));
  } catch (error) {
    at("states").textContent = `The router does not say: ${error.message}`;
  }
}

function drawKnown(namers, watches) {
  const tables = Object.entries(namers).flatMap(([prefix, state]) =>
    ["names", "files"].map((kind) => [`${kind} of /#/${prefix}`, Object.entries(state[kind] ?? {})]),
  );
  const shown = [...tables, ["watches of Kubernetes", watches]].filter(([, rows]) => rows.length > 0);
  at("states").replaceChildren(...shown.map(([title, rows]) => table(title, rows)));
  if (shown.length === 0) at("states").textContent = "Nothing: no name is in use.";
}

const leads = (tree) => !/^([~!$] |pending|failed)/.test(tree.outcome);

function draw(tree, namers) {
  const base = tree.override?.baseEntries ?? Infinity;
  at("outcome").replaceChildren("Leads to ", element("b", leads(tree) ? "good" : "bad", tree.outcome));
  showList("warnings", tree.override?.warnings ?? []);
  showList("listeners", tree.override?.listeners ?? []);
  at("following").hidden = !tree.override;
  showKeeping();
  at("answer").replaceChildren(element("ul", "", step(tree, { base, namers, said: new Map() }, "", true)));
  at("answer").hidden = false;
}

// Indents each line of a text.
const indented = (text, blanks) => text.trim().split("\n").map((line) => blanks + line.trim()).join("\n");

// Shows the override that was tried as a sandbox, to be copied.
function showKeeping() {
  const dtab = at("override").value;
  at("keep").hidden = dtab.trim() === "";
  at("manifest").textContent = `apiVersion: signpost.dev/v1alpha1
kind: Sandbox
metadata:
  name: my-branch
spec:
  ttl: 8h
  dtab: |
${indented(dtab, "    ")}
`;
  at("item").textContent = `- name: my-branch
  dtab: |
${indented(dtab, "    ")}
`;
}

// Shows the names that the sandboxes of these keys change, and where each of them leads.
async function showChanges(router, keys, isWanted) {
  const found = await Promise.all(
    keys.split("+").filter(Boolean).slice(0, MOST_KEYS).map((key) => asked(`sandboxes.json?key=${encodeURIComponent(key)}`)),
  );
  const entries = found.flatMap(({ sandboxes }) => sandboxes.flatMap(({ dtab }) => dtab));
  const lines = await Promise.all(entries.slice(0, MOST_CHANGES).map((entry) => change(router, keys, entry)));
  if (!isWanted()) return;
  if (entries.length > MOST_CHANGES) lines.push(element("li", "soft", `${entries.length - MOST_CHANGES} more`));
  at("changes").replaceChildren(...lines);
  at("changes").hidden = false;
  at("changed").hidden = lines.length === 0;
}

// The line of one entry: it is not ready while its name leads nowhere, or elsewhere than it says.
async function change(router, keys, entry) {
  const line = element("li", "", element("code", "entry", arrow(entry)), " ");
  if (entry.prefix.includes("*")) {
    line.append(element("span", "soft", "stands for many names: try one of them"));
    return line;
  }
  const response = await delegate({ namespace: router, path: entry.prefix, sandbox: keys, dtab: "" }).catch(() => null);
  const tree = response?.headers.get("Content-Type") === "application/json" ? await response.json() : null;
  const isReady = tree && leads(tree) && !tree.override?.warnings.some((warning) => /leads nowhere|is refused/.test(warning));
  const said = tree ? tree.outcome : "the router does not answer";
  line.append(element("span", isReady ? "good" : "bad", `${isReady ? "ready" : "not ready"}: ${said}`));
  return line;
}

// Offers the keys of the sandboxes that there are.
async function showSandboxes() {
  const { sandboxes } = await asked("sandboxes.json").catch(() => ({ sandboxes: [] }));
  const option = ({ key, id, owner }) => {
    const made = element("option", "", owner ? `${id}, ${owner}` : id);
    made.value = key;
    return made;
  };
  at("sandboxes").replaceChildren(...sandboxes.map(option));
}

const delegate = (question, signal) =>
  fetch("delegator.json", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(question),
    signal,
  });

// Names that may lead somewhere: what the entries end in, behind the prefix, as identifiers make names of hosts.
function examples({ dstPrefix, dtab }) {
  const prefix = dstPrefix === "/" ? "" : dstPrefix;
  const labels = new Set(dtab.map((entry) => entry.prefix.split("/").at(-1)).filter((label) => /^[a-z][\w.-]*$/i.test(label)));
  return [...labels].flatMap((label) => [`${prefix}/1.1/GET/${label}`, `${prefix}/${label}`]).slice(-MOST_EXAMPLES);
}

// Puts a name that leads somewhere into the empty field, if one is found.
async function showExample(router) {
  at("path").placeholder = "";
  for (const path of examples(router).reverse()) {
    const response = await delegate({ namespace: router.label, path, dtab: "" }).catch(() => null);
    if (chosen() !== router) return;
    if (response?.ok && leads(await response.json())) {
      at("path").placeholder = path;
      return;
    }
  }
}

// The answer is that to another question now.
function forget() {
  asking?.abort();
  asking = null;
  clear();
}

async function ask() {
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  clear();
  at("outcome").textContent = "Asking…";
  const question = { namespace: at("router").value, path: at("path").value, sandbox: at("sandbox").value.trim(), dtab: at("override").value };
  try {
    const response = await delegate(question, mine.signal);
    const isTree = response.headers.get("Content-Type") === "application/json";
    const answer = isTree ? await response.json() : await response.text();
    if (asking !== mine) return;
    clear();
    if (isTree) {
      // The tree is worth showing without its age.
      const namers = await asked("namer_state.json").catch(() => ({}));
      if (asking !== mine) return;
      draw(answer, namers);
      showKnown();
      if (question.sandbox) await showChanges(question.namespace, question.sandbox, () => asking === mine);
    } else showError(answer.trimEnd());
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
  showExample(router);
}

// Takes over the values behind the #, and asks when they name a path.
function follow() {
  const said = new URLSearchParams(location.hash.slice(1));
  const label = said.get("router");
  const isKnown = routers.some((router) => router.label === label);
  if (isKnown) at("router").value = label;
  at("path").value = said.get("path") ?? "";
  at("sandbox").value = said.get("sandbox") ?? "";
  at("override").value = said.get("dtab") ?? "";
  if (said.has("known")) at("known").open = true;
  showRouter();
  if (label && !isKnown) {
    forget();
    showError(`There is no router ${label}: there are ${routers.map((router) => router.label).join(", ")}.`);
  } else if (at("path").value) ask();
  else forget();
}

function submit(event) {
  event.preventDefault();
  const said = new URLSearchParams({ router: at("router").value, path: at("path").value });
  if (at("sandbox").value) said.set("sandbox", at("sandbox").value.trim());
  if (at("override").value) said.set("dtab", at("override").value);
  if (at("known").open) said.set("known", "");
  const hash = `#${said}`;
  if (location.hash === hash) ask();
  else location.hash = hash;
}

async function start() {
  at("question").addEventListener("submit", submit);
  at("question").addEventListener("input", forget);
  at("router").addEventListener("change", showRouter);
  at("known").addEventListener("toggle", showKnown);
  addEventListener("hashchange", follow);
  try {
    routers = await asked("routers.json");
  } catch (error) {
    showError(`The router does not answer: ${error.message}`);
    return;
  }
  showSandboxes();
  at("router").replaceChildren(...routers.map(({ label }) => element("option", "", label)));
  follow();
}

start();
