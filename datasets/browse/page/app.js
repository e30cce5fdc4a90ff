// What is looked at stands in the address: view, filters, words, offset. Everything is drawn from there.
"use strict";

// --- elements: text is only ever set as text, so that no caption is run or read as markup
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) node.append(child);
  return node;
}
const number = (value) => Number(value).toLocaleString("en");
const words = (name) => String(name).replaceAll("_", " ");

// --- where answers come from: the server, or what was written beside the page
const still = window.CODI2;
const FACETS = ["task", "split", "holdout", "licence", "language", "demos", "corpus"];
const REJECT_FACETS = ["stage", "op", "reason"];

async function ask(path, asked = {}) {
  if (still) return answer(path, asked);
  const response = await fetch(`api/${path}?${new URLSearchParams(asked)}`);
  const found = await response.json();
  if (!response.ok) throw new Error(found.error || response.statusText);
  return found;
}

function answer(path, asked) {
  if (path === "samples") {
    const fits = (sample, but) => FACETS.every((f) => f === but || !(f in asked) || valuesOf(sample, f).includes(asked[f]))
      && (!asked.q || sample.parts.some((p) => (p.text || "").toLowerCase().includes(asked.q.toLowerCase())));
    return page(still.samples, "samples", fits, FACETS, valuesOf, asked, 20);
  }
  if (path === "rejects") {
    const fits = (row, but) => REJECT_FACETS.every((f) => f === but || !(f in asked) || (row[f] || "") === asked[f])
      && (!asked.q || `${row.subject} ${row.error || ""}`.toLowerCase().includes(asked.q.toLowerCase()));
    return page(still.rejects, "rejects", fits, REJECT_FACETS, (row, f) => [row[f] || ""], asked, 50);
  }
  if (path.startsWith("lineage/")) return still.lineage[path.slice(8)];
  return still[path];
}

function valuesOf(sample, facet) {
  if (facet === "corpus") return sample.corpora || [];
  return [String(sample[facet] ?? "")];
}

function page(rows, name, fits, facets, values, asked, limit) {
  const found = rows.filter((row) => fits(row));
  const offset = Number(asked.offset || 0);
  const counts = {};
  for (const facet of facets) {
    const tally = new Map();
    for (const row of rows) if (fits(row, facet)) for (const v of values(row, facet)) tally.set(v, (tally.get(v) || 0) + 1);
    counts[facet] = [...tally].map(([value, n]) => ({ value, n })).sort((a, b) => b.n - a.n || (a.value < b.value ? -1 : 1));
  }
  return { total: found.length, offset, [name]: found.slice(offset, offset + limit), facets: counts };
}

// --- the address
const VIEWS = ["samples", "rejects", "statistics", "ledger"];
const state = () => {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return { view: VIEWS.includes(given.view) ? given.view : "samples", ...Object.fromEntries(Object.entries(given).filter(([k]) => k !== "view")) };
};
function go(change, keep = true) {
  const next = keep ? { ...state(), ...change } : change;
  for (const [key, value] of Object.entries(next)) if (value === null || value === "" && key === "q") delete next[key];
  location.hash = new URLSearchParams(next);
}

// --- filters
function filters(facets, asked, names) {
  const search = el("input", { type: "search", id: "search", placeholder: "Search the words", value: asked.q || "",
    "aria-label": "Search", onchange: (event) => go({ q: event.target.value, offset: null }) });
  const boxes = names.map((name) => {
    const select = el("select", { id: `by-${name}`, onchange: (event) => go({ [name]: event.target.value === "*" ? null : event.target.value, offset: null }) },
      el("option", { value: "*" }, "all"),
      facets[name].map(({ value, n }) => el("option", { value, selected: asked[name] === value }, `${value === "" ? "(none)" : words(value)}  ${number(n)}`)));
    return el("label", { class: asked[name] !== undefined ? "chosen" : null }, el("span", {}, name), select);
  });
  const some = names.some((name) => name in asked) || asked.q;
  return [search, ...boxes, some ? el("button", { class: "plain", onclick: () => go({ view: asked.view }, false) }, "Clear all") : null];
}

function pager(found, size, what) {
  const { total, offset } = found;
  const last = Math.min(offset + size, total);
  return el("p", { class: "pager" },
    el("span", { id: "count" }, total ? `${number(offset + 1)}–${number(last)} of ${number(total)} ${what}` : `no ${what}`),
    el("button", { id: "previous", disabled: offset === 0, onclick: () => go({ offset: Math.max(0, offset - size) || null }) }, "← previous"),
    el("button", { id: "next", disabled: last >= total, onclick: () => go({ offset: offset + size }) }, "next →"));
}

// --- views
async function draw() {
  const asked = state();
  const main = document.getElementById("main"), side = document.getElementById("filters");
  for (const tab of document.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", tab.dataset.view === asked.view);
  const { view, ...rest } = asked;
  try {
    if (view === "samples") {
      const found = await ask("samples", rest);
      side.replaceChildren(...filters(found.facets, asked, FACETS).filter(Boolean));
      main.replaceChildren(pager(found, 20, "samples"), ...found.samples.map(sampleCard), pager(found, 20, "samples"));
    } else if (view === "rejects") {
      const found = await ask("rejects", rest);
      side.replaceChildren(...filters(found.facets, asked, REJECT_FACETS).filter(Boolean));
      main.replaceChildren(pager(found, 50, "rejects"), rejectTable(found.rejects), pager(found, 50, "rejects"));
    } else {
      side.replaceChildren();
      main.replaceChildren(...(view === "statistics" ? statistics(await ask("statistics")) : [ledgerTable(await ask("ledger"))]));
    }
  } catch (error) {
    main.replaceChildren(el("p", { class: "error", role: "alert" }, error.message));
  }
  document.body.dataset.drawn = location.hash || "#";
  window.scrollTo(0, 0);
}

function rejectTable(rows) {
  return table(["stage", "op", "what", "reason", "score", "error"], rows.map((row) => [
    row.stage, row.op,
    el("span", { class: "what" }, row.media ? medium(row, row.modality) : null, el("code", { title: row.subject }, row.place || row.subject)),
    row.reason, row.score === null ? "" : `${Number(row.score.toPrecision(4))}${row.threshold === null ? "" : ` (limit ${row.threshold})`}`, row.error || ""]));
}

function ledgerTable(rows) {
  const shown = rows.map((row) => [row.stage, row.op, row.op_version, number(row.rows_in), number(row.rows_out), number(row.rejected), number(row.failed),
    row.rows_in === row.rows_out + row.rejected + row.failed ? "✓" : "does not balance", row.seconds, el("code", { class: "params" }, row.params)]);
  return table(["stage", "op", "version", "in", "out", "rejected", "failed", "balance", "seconds", "parameters"], shown, [3, 4, 5, 6, 8]);
}

function table(head, rows, right = []) {
  const side = (n) => (right.includes(n) ? "number" : null);
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((name, n) => el("th", { scope: "col", class: side(n) }, name)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, n) => el("td", { class: side(n) }, cell)))))));
}

// --- keys
let back = null;
function close() {
  for (const id of ["drawer", "help"]) document.getElementById(id).hidden = true;
  if (back) back.focus();
  back = null;
}
function show(id) {
  back = document.activeElement;
  const box = document.getElementById(id);
  box.hidden = false;
  box.tabIndex = -1;
  box.focus();
}
function step(by) {
  const cards = [...document.querySelectorAll("article, tbody tr")];
  if (!cards.length) return;
  const now = cards.findIndex((card) => card.contains(document.activeElement));
  const next = cards[Math.max(0, Math.min(cards.length - 1, now + by))];
  next.tabIndex = 0;
  next.focus();
  next.scrollIntoView({ block: "center" });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return close();
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const open = !document.getElementById("drawer").hidden || !document.getElementById("help").hidden;
  if (open) return;
  const acts = {
    "/": () => document.getElementById("search")?.focus(),
    j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
    n: () => document.getElementById("next")?.click(), p: () => document.getElementById("previous")?.click(),
    "?": () => show("help"),
    Enter: () => { if (document.activeElement.dataset?.sample) openLineage(document.activeElement.dataset.sample); else return true; },
  };
  VIEWS.forEach((view, n) => (acts[n + 1] = () => go({ view }, false)));
  if (event.key in acts && acts[event.key]() !== true) event.preventDefault();
});

for (const tab of document.querySelectorAll("[role=tab]")) tab.addEventListener("click", () => go({ view: tab.dataset.view }, false));
document.getElementById("help-button").addEventListener("click", () => show("help"));
document.getElementById("help").addEventListener("click", close);
window.addEventListener("hashchange", draw);
ask("about").then(({ title, build }) => {
  document.getElementById("build").textContent = `${title} · ${number(build.samples)} samples`;
  document.title = `CoDi-2 ${title}`;
});
draw();
