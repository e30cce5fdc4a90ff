// The page: one conversation with branches, sent to the API of the same server, kept in this browser alone.
import { body, models, stream } from "./api.js";
import * as composer from "./composer.js";
import { $, button, element, kindOf, NAMES, say } from "./dom.js";
import { cards, openGallery } from "./gallery.js";
import { recorder } from "./media.js";
import * as trees from "./tree.js";
import { Coming, turn } from "./view.js";

let tree = trees.fresh(), running = null, parentOfNext = null, known = ["text"];

function complain(error) {
  turn("error", [{ type: "text", text: error.message }]).setAttribute("role", "alert");
}

function draw() {
  $("log").replaceChildren();
  const shown = trees.path(tree);
  let before = null;
  for (const n of shown) {
    const node = tree.nodes[n], mine = node.role === "user";
    turn(node.role, node.content, { use: mine ? null : composer.insert, before: mine ? null : before, tools: tools(n) });
    before = node.content.findLast((part) => kindOf(part) === "image") || before;
  }
  if (!shown.length) hint();
}

function hint() {
  const box = element("div", { className: "cards" });
  cards(box, template);
  const words = "Write, and put pictures, sounds and clips between the words. The reply may hold any of them.";
  $("log").append(element("div", { className: "hint" }, element("p", { textContent: words }), box));
}

function tools(n) {
  const mine = tree.nodes[n].role === "user", parent = tree.nodes[n].parent;
  const row = element("div", { className: `tools ${mine ? "user" : "assistant"}` });
  const same = trees.siblings(tree, n), at = same.indexOf(n);
  if (same.length > 1) {
    const go = (step) => () => { trees.choose(tree, same[at + step]); save(); draw(); };
    row.append(button("‹", go(-1), { disabled: at === 0, ariaLabel: "Earlier branch" }), `${at + 1} / ${same.length}`,
      button("›", go(1), { disabled: at === same.length - 1, ariaLabel: "Later branch" }));
  }
  if (mine) row.append(button("Edit", () => { parentOfNext = parent; composer.fill(tree.nodes[n].content); say("Editing: sending starts a branch"); }));
  else row.append(button("Regenerate", () => again(parent)));
  const asked = () => body(trees.messages(tree, mine ? n : parent));
  row.append(button("Copy JSON", () => copy(JSON.stringify(asked(), null, 1))), button("Copy curl", () => copy(curl(asked()))));
  return row;
}

const curl = (request) =>
  `curl ${location.origin}/v1/chat/completions -H 'Content-Type: application/json' -d @- <<'JSON'\n${JSON.stringify(request)}\nJSON\n`;

async function copy(words) {
  try { await navigator.clipboard.writeText(words); say("Copied"); } catch {
    $("copied").querySelector("textarea").value = words;
    $("copied").showModal();
    $("copied").querySelector("textarea").select();
  }
}

async function send() {
  const content = composer.content();
  if (running || !content.length) return;
  const parent = parentOfNext ?? tree.leaf;
  parentOfNext = null;
  trees.add(tree, parent, "user", content);
  composer.clear();
  const home = tree, failure = await reply(tree.leaf);
  if (!failure) return;
  home.nodes.pop();                                     // what was typed is not lost
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

// Ask for a reply to the node; what went wrong, if anything did.
async function reply(parent, seed) {
  if (running) return null;
  tree.leaf = parent;
  const home = tree, request = body(trees.messages(tree, parent), tree.id, seed);
  running = new AbortController();
  $("send").hidden = !($("stop").hidden = false);
  draw();
  const coming = new Coming();
  let failure = null;
  try { await stream(request, running.signal, (delta, event) => coming.take(delta, event)); } catch (error) { failure = error; }
  const stopped = running.signal.aborted;
  running = null;
  $("send").hidden = !($("stop").hidden = true);
  coming.end();
  if (!failure || (stopped && coming.content.length)) trees.add(home, parent, "assistant", coming.content);
  else home.leaf = parent;
  trees.keep(home).catch(() => {});
  if (home === tree) draw();
  const failed = Boolean(failure) && !(stopped && coming.content.length);
  say(failed && !stopped ? "" : stopped ? "Stopped" : `The reply is whole: ${coming.content.map((part) => NAMES[kindOf(part)]).join(", ") || "empty"}`);
  $("text").focus();
  return failed ? (stopped ? new Error("stopped") : failure) : null;
}

const save = () => trees.keep(tree).catch(() => {});

function template(content, modalities) {
  composer.fill(content);
  for (const box of document.querySelectorAll("[name=modality]")) box.checked = modalities.includes(box.value);
}

function begin(next = trees.fresh()) {
  running?.abort();
  tree = next;
  parentOfNext = null;
  draw();
  $("text").focus();
}

async function showKept() {
  const rows = (await trees.kept()).map((found) => {
    const row = element("li", {}, button(found.title || "(untitled)", () => { $("kept").close(); begin(found); }));
    row.append(button("Delete", async () => { await trees.forget(found.id); row.remove(); if (found.id === tree.id) begin(); }, { ariaLabel: `Delete ${found.title}` }));
    return row;
  });
  $("kept").querySelector("ul").replaceChildren(...(rows.length ? rows : [element("li", { textContent: "None yet." })]));
  $("kept").showModal();
}

function exported() {
  const text = JSON.stringify({ ...tree, messages: trees.messages(tree) }, null, 1);
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  element("a", { href: url, download: "conversation.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

let stopRecording = null;
async function record() {
  try {
    if (!stopRecording) stopRecording = await recorder();
    else { const stop = stopRecording; stopRecording = null; composer.insert(await stop(), "recording"); }
  } catch (error) { stopRecording = null; complain(new Error(`no recording: ${error.message}`)); }
  $("record").textContent = stopRecording ? "Stop recording" : "Record";
  $("record").setAttribute("aria-pressed", String(Boolean(stopRecording)));
}

async function meet() {
  try {
    const { id, modalities } = await models();
    $("model").textContent = id;
    if (modalities.join() === known.join() && $("modalities").children.length) return;
    known = modalities;
    $("modalities").replaceChildren(...modalities.map((name) => element("label", {},
      element("input", { type: "checkbox", name: "modality", value: name, checked: true }), ` ${NAMES[name]}`)));
  } catch (error) { complain(error); }
}

composer.start(send, complain);
$("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
$("stop").addEventListener("click", () => running?.abort());
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && running) running.abort(); });
$("new").addEventListener("click", () => begin());
$("open-gallery").addEventListener("click", () => openGallery(template));
$("open-kept").addEventListener("click", () => showKept().catch(complain));
$("export").addEventListener("click", exported);
$("record").addEventListener("click", record);
$("open-settings").addEventListener("click", () => {
  $("settings").hidden = !$("settings").hidden;
  $("open-settings").setAttribute("aria-expanded", String(!$("settings").hidden));
});
$("token").value = sessionStorage.getItem("token") || "";
$("token").addEventListener("change", () => { sessionStorage.setItem("token", $("token").value); meet(); });
draw();
meet();
trees.kept().then((all) => { if (all.length && !tree.nodes.length && !composer.content().length) begin(all[0]); }).catch(() => {});
$("text").focus();
