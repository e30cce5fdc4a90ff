// The page: a conversation with branches, sent to the API of the same server and stored only in this browser.
import { answeredBy, body, models, stream } from "./api.js";
import * as composer from "./composer.js";
import { $, button, element, kindOf, NAMES, say } from "./dom.js";
import { firstCards, openGallery } from "./gallery.js";
import { copier, recording, settings } from "./panel.js";
import * as trees from "./tree.js";
import { StreamingReply, turn } from "./view.js";

let tree = trees.fresh(), running = null, parentOfNext = null;

function complain(error) {
  turn("error", [{ type: "text", text: error.message }]).setAttribute("role", "alert");
}

function draw() {
  $("log").replaceChildren();
  const shown = trees.path(tree), before = {};          // the last medium of each modality, for comparison
  for (const n of shown) {
    const node = tree.nodes[n], mine = node.role === "user";
    turn(node.role, node.content, { use: mine ? null : composer.insert, before: mine ? null : { ...before }, tools: tools(n) });
    for (const part of node.content) before[kindOf(part)] = part;
  }
  if (!shown.length) hint();
}

function hint() {
  const words = "Write a message and add images, audio or video anywhere in the text. Replies can contain them too. Or start with a template:";
  const more = button("All templates", () => openGallery(template, complain));
  $("log").append(element("div", { className: "hint" }, element("p", { textContent: words }), firstCards(template, complain), more));
}

function tools(n) {
  const node = tree.nodes[n], mine = node.role === "user";
  const row = element("div", { className: `tools ${node.role}` });
  row.append(...branches(n));
  if (mine) row.append(button("Edit", () => edit(n)));
  else row.append(button("Regenerate", () => again(node.parent)));
  const request = () => ({ ...body(trees.messages(tree, mine ? n : node.parent)), ...node.asked });
  row.append(button("Copy JSON", () => copier(JSON.stringify(request(), null, 1))), button("Copy curl", () => copier(curl(request()))));
  if (node.asked) row.append(element("span", { textContent: `seed ${node.asked.seed}${node.asked.steps ? `, ${node.asked.steps} steps` : ""}` }));
  return row;
}

function branches(n) {                                  // buttons to switch between branches, if there are several
  const same = trees.siblings(tree, n), at = same.indexOf(n);
  if (same.length < 2) return [];
  const step = (by, sign, label) => button(sign, () => {
    trees.choose(tree, same[at + by]);
    save();
    draw();
    const [wanted, other] = by < 0 ? ["Earlier branch", "Later branch"] : ["Later branch", "Earlier branch"];
    const row = $("log").querySelectorAll(".tools.user, .tools.assistant")[trees.path(tree).indexOf(same[at + by])];
    (row.querySelector(`[aria-label="${wanted}"]:enabled`) || row.querySelector(`[aria-label="${other}"]`)).focus();
  }, { disabled: !same[at + by] && same[at + by] !== 0, ariaLabel: label });
  return [step(-1, "‹", "Earlier branch"), `${at + 1} / ${same.length}`, step(1, "›", "Later branch")];
}

function curl(request) {
  const token = $("token").value.trim() ? ` -H "Authorization: Bearer $CODI2_API_TOKEN"` : "";
  return `curl ${location.origin}/v1/chat/completions -H 'Content-Type: application/json'${token} -d @- <<'JSON'\n${JSON.stringify(request)}\nJSON\n`;
}

function edit(n) {
  parentOfNext = tree.nodes[n].parent;
  $("editing").hidden = false;
  composer.fill(tree.nodes[n].content);
  say("", "Editing an earlier message. Sending it starts a branch.");
}

function unedit() {
  parentOfNext = null;
  $("editing").hidden = true;
}

async function send() {
  const content = composer.content();
  if (running || !content.length) return;
  const parent = parentOfNext ?? tree.leaf;
  unedit();
  trees.add(tree, parent, "user", content);
  composer.clear();
  const home = tree, failure = await reply(tree.leaf);
  if (!failure) return;
  home.nodes.pop();                                     // the message goes back to the input field
  home.leaf = parent;
  trees.keep(home).catch(() => {});
  if (home !== tree) return;
  draw();
  complain(failure);
  if (!composer.content().length) composer.fill(content);
}

async function again(parent) {
  const failure = await reply(parent, Math.floor(Math.random() * 2 ** 31));
  if (failure) complain(failure);
}

// Requests a reply to the node. Returns the error, or null.
async function reply(parent, seed) {
  if (running) return null;
  tree.leaf = parent;
  const home = tree, request = body(trees.messages(tree, parent), seed);
  const { messages: _, ...asked } = request;
  running = new AbortController();
  $("send").hidden = !($("stop").hidden = false);
  draw();
  say("Generating …");
  const coming = new StreamingReply();
  let failure = null;
  try { await stream({ ...request, session: tree.id }, running.signal, (delta, event) => coming.take(delta, event)); } catch (error) { failure = error; }
  const stopped = running.signal.aborted, focused = $("form").contains(document.activeElement) || document.activeElement === document.body;
  running = null;
  $("send").hidden = !($("stop").hidden = true);
  coming.end();
  const failed = Boolean(failure) && !(stopped && coming.content.length);
  if (failed) home.leaf = parent;
  else trees.add(home, parent, "assistant", coming.content, asked);
  trees.keep(home).catch(() => {});
  if (home === tree) draw();
  if (stopped) say("Stopped");
  else say("", failed ? "" : `CoDi-2: ${spoken(coming.content)}`);
  if (focused && !document.querySelector("dialog[open]")) $("text").focus();
  if (answeredBy() !== $("model").textContent) loadModel();   // the server has switched its model
  return failed ? (stopped ? new Error("Stopped") : failure) : null;
}

const spoken = (content) => content.map((part) => (part.type === "text" ? part.text : `[${NAMES[kindOf(part)]}]`)).join(" ") || "empty reply";

const save = () => trees.keep(tree).catch(() => {});

function template(content, modalities) {
  unedit();
  composer.fill(content);
  for (const box of document.querySelectorAll("[name=modality]")) box.checked = modalities.includes(box.value);
}

function begin(next = trees.fresh()) {
  running?.abort();
  tree = next;
  unedit();
  draw();
  $("text").focus();
}

async function showStored() {
  const rows = (await trees.kept()).map((stored) => {
    const row = element("li", {}, button(stored.title || "(untitled)", () => { $("kept").close(); begin(stored); }));
    row.append(button("Delete", async () => { await trees.forget(stored.id); row.remove(); if (stored.id === tree.id) begin(); }, { ariaLabel: `Delete ${stored.title}` }));
    return row;
  });
  $("kept").querySelector("ul").replaceChildren(...(rows.length ? rows : [element("li", { textContent: "None yet." })]));
  if (!$("kept").open) $("kept").showModal();
}

function exported() {
  const text = JSON.stringify({ ...tree, messages: trees.messages(tree) }, null, 1);
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  element("a", { href: url, download: "conversation.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

async function importFile(event) {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  $("kept").close();
  try { begin(trees.imported(await file.text())); save(); } catch (error) { complain(error); }
}

async function loadModel() {
  try {
    const { id, modalities } = await models();
    $("model").textContent = id;
    const shown = [...document.querySelectorAll("[name=modality]")].map((box) => box.value);
    if (modalities.join() === shown.join()) return;
    $("modalities").replaceChildren(...modalities.map((name) => element("label", {},
      element("input", { type: "checkbox", name: "modality", value: name, checked: true }), ` ${NAMES[name]}`)));
  } catch (error) { complain(error); }
}

composer.start(send, complain);
settings(loadModel);
recording((part) => composer.insert(part), complain);
$("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
$("stop").addEventListener("click", () => running?.abort());
$("unedit").addEventListener("click", () => { unedit(); composer.clear(); $("text").focus(); });
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (running) running.abort();
  else if (parentOfNext !== null) $("unedit").click();
});
$("new").addEventListener("click", () => begin());
$("open-gallery").addEventListener("click", () => openGallery(template, complain));
$("open-kept").addEventListener("click", () => showStored().catch(complain));
$("import").addEventListener("change", importFile);
$("export").addEventListener("click", exported);
draw();
loadModel();
trees.kept().then((all) => { if (all.length && !tree.nodes.length && !composer.content().length) begin(all[0]); }).catch(() => {});
$("text").focus();
