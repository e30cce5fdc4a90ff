// The state of the page (view, filters, search, offset) is in the URL's hash. Everything is drawn from it.
"use strict";

// --- elements: text is always set as text, so that captions are never parsed as HTML
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

// --- data: from the server, or from the files of a static export
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
      && (!asked.q || sample.sample_id.startsWith(asked.q.trim()) || sample.parts.some((p) => holds(p.text, asked.q)));
    return page(ordered(still.samples, asked.order), "samples", fits, FACETS, valuesOf, asked, 20);
  }
  if (path === "rejects") {
    const fits = (row, but) => REJECT_FACETS.every((f) => f === but || !(f in asked) || (row[f] || "") === asked[f])
      && (!asked.q || [row.subject, row.place, row.reason, row.error].some((text) => holds(text, asked.q)));
    return page(still.rejects, "rejects", fits, REJECT_FACETS, (row, f) => [row[f] || ""], asked, 50);
  }
  if (path in ANSWERS) return ANSWERS[path](asked);
  const [start, name] = path.split("/");
  if (name === undefined) return still[path];
  const found = start === "samples" ? still.samples.find((sample) => sample.sample_id === name) : still[DETAILS[start]][name];
  if (!found) throw new Error(`${name} is not part of this static export`);
  return found;
}
const ANSWERS = {};  // path -> what selects the rows; contributed views add theirs, here and below
const DETAILS = { lineage: "lineage" };  // start of a path -> where its details are held

const holds = (text, q) => (text || "").toLowerCase().includes(q.trim().toLowerCase());
function ordered(samples, by) {
  const acts = { demos: (a, b) => b.demos - a.demos, parts: (a, b) => b.n_parts - a.n_parts, task: (a, b) => (a.task < b.task ? -1 : a.task > b.task ? 1 : 0) };
  return acts[by] ? [...samples].sort(acts[by]) : samples;  // stable: equal values stay in the order of ids
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

// --- state in the URL
// in the order of their tabs; a view without a title has none. drawn: (state, choices of the state) -> content, filters
const VIEWS = {
  samples: { title: "Samples", async drawn(asked, rest) {
    const found = await ask("samples", rest);
    return [[pager(found, 20, "samples"), ...found.samples.map(sampleCard), pager(found, 20, "samples", false)], filters(found.facets, asked, FACETS, orders(asked))];
  } },
  rejects: { title: "Rejects", async drawn(asked, rest) {
    const found = await ask("rejects", rest);
    return [[pager(found, 50, "rejects"), rejectTable(found.rejects), pager(found, 50, "rejects", false)], filters(found.facets, asked, REJECT_FACETS)];
  } },
  sample: { drawn: async ({ id }) => [await samplePage(id)] },
  statistics: { title: "Statistics", drawn: async () => [statistics(await ask("statistics"))] },
  ledger: { title: "Ledger", drawn: async () => [[ledgerTable(await ask("ledger")), ...buildTable(await ask("builds"))]] },
};
const TABS = () => Object.entries(VIEWS).filter(([, { title }]) => title);
const OPENED = { sample: (name) => openLineage(name) };  // data attribute of an element -> what Enter opens
const state = () => {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return { view: given.view in VIEWS ? given.view : "samples", ...Object.fromEntries(Object.entries(given).filter(([k]) => k !== "view")) };
};
function go(change, keep = true) {
  const next = keep ? { ...state(), ...change } : change;
  for (const [key, value] of Object.entries(next)) if (value === null || value === "" && key === "q") delete next[key];
  location.hash = new URLSearchParams(next);
}

// --- filters
function filters(facets, asked, names, ...more) {
  const search = el("input", { type: "search", id: "search", placeholder: "Search texts", value: asked.q || "",
    "aria-label": "Search", onchange: (event) => go({ q: event.target.value, offset: null }) });
  const boxes = names.map((name) => {
    // the selected value is always listed, also if no row matches
    const choices = name in asked && !facets[name].some(({ value }) => value === asked[name]) ? [...facets[name], { value: asked[name], n: 0 }] : facets[name];
    const select = el("select", { id: `by-${name}`, onchange: (event) => go({ [name]: event.target.value === "*" ? null : event.target.value, offset: null }) },
      el("option", { value: "*" }, "all"),
      choices.map(({ value, n }) => el("option", { value, selected: asked[name] === value }, `${value === "" ? "(none)" : words(value)}  ${number(n)}`)));
    return el("label", { class: asked[name] !== undefined ? "chosen" : null }, el("span", {}, name), select);
  });
  const some = names.some((name) => name in asked) || asked.q || asked.order;
  return [search, ...boxes, ...more, some ? el("button", { class: "plain", onclick: () => go({ view: asked.view }, false) }, "Clear all") : null];
}

const ORDERS = { "": "shuffled", demos: "most examples first", parts: "longest first", task: "by task" };
function orders(asked) {
  return el("label", { class: asked.order ? "chosen" : null }, el("span", {}, "order"), el("select", { id: "order", onchange: (event) => go({ order: event.target.value || null, offset: null }) },
    Object.entries(ORDERS).map(([value, name]) => el("option", { value, selected: (asked.order || "") === value }, name))));
}

// shown above and below the list; only the upper one has ids
function pager(found, size, what, above = true) {
  const { total, offset } = found;
  const last = Math.min(offset + size, total);
  return el("p", { class: "pager" },
    el("span", { id: above && "count" }, total ? `${number(offset + 1)}–${number(last)} of ${number(total)} ${what}` : `no ${what}`),
    el("button", { id: above && "previous", disabled: offset === 0, onclick: () => go({ offset: Math.max(0, offset - size) || null }) }, "← previous"),
    el("button", { id: above && "next", disabled: last >= total, onclick: () => go({ offset: offset + size }) }, "next →"));
}

// --- views
let drawing = 0;
async function draw() {
  const asked = state(), mine = ++drawing, typed = document.getElementById("search")?.value;
  const main = document.getElementById("main"), side = document.getElementById("filters");
  for (const tab of document.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", tab.dataset.view === asked.view);
  const { view, ...rest } = asked;
  let choices = [], content;
  main.setAttribute("aria-busy", "true");
  try {
    [content, choices = []] = await VIEWS[view].drawn(asked, rest);
  } catch (error) {
    content = [el("p", { class: "error", role: "alert" }, error.message)];
  }
  if (mine !== drawing) return;  // the state has changed in the meantime
  const at = document.activeElement, search = document.getElementById("search");
  const typing = search && search.value !== typed ? search.value : null;
  side.replaceChildren(...choices.filter(Boolean));
  main.replaceChildren(...content);
  main.removeAttribute("aria-busy");
  if (typing !== null && document.getElementById("search")) document.getElementById("search").value = typing;
  // keep the focus on a filter; from a sample move it to the list
  if (!at.isConnected) (document.getElementById(at.id) || main).focus({ preventScroll: true });
  VIEWS[view].placed?.();
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

function buildTable(rows) {
  return [el("h2", { class: "apart" }, "Builds of this root"),
    table(["build", "recipe", "published", "shown"], rows.map((row) => [el("code", {}, row.build_id), row.recipe || "", row.created_at || "", row.shown ? "here" : ""]))];
}

function table(head, rows, right = []) {
  const side = (n) => (right.includes(n) ? "number" : null);
  // it scrolls where the page is narrow, which keys can do if it can be focused
  return el("div", { class: "scroll", role: "group", tabindex: 0, "aria-label": `Table of ${head[0]}` }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((name, n) => el("th", { scope: "col", class: side(n) }, name)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, n) => el("td", { class: side(n) }, cell)))))));
}

// --- keys
let back = null;
const behind = (inert) => { for (const node of document.querySelectorAll("header, .columns, .skip")) node.inert = inert; };
function close() {
  for (const id of ["drawer", "help"]) document.getElementById(id).hidden = true;
  behind(false);
  if (back) back.focus();
  back = null;
}
function show(id) {
  back = back || document.activeElement;
  behind(true);  // Tab stays within
  const box = document.getElementById(id);
  box.hidden = false;
  box.tabIndex = -1;
  box.focus();
}
function step(by) {
  const cards = [...document.querySelectorAll("article, tbody tr, .node")];
  if (!cards.length) return;
  const now = cards.findIndex((card) => card.contains(document.activeElement));
  const next = cards[Math.max(0, Math.min(cards.length - 1, now + by))];
  next.tabIndex = 0;
  next.focus();
  next.scrollIntoView({ block: "center" });
}
function beside(by) {
  const tabs = [...document.querySelectorAll("[role=tab]")], now = tabs.indexOf(document.activeElement);
  if (now < 0) return true;
  tabs[(now + by + tabs.length) % tabs.length].focus();
  document.activeElement.click();
  return false;
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
    ArrowLeft: () => beside(-1), ArrowRight: () => beside(1),
    Enter: () => {
      const { dataset } = document.activeElement, kind = Object.keys(OPENED).find((name) => dataset[name]);
      if (!kind) return true;
      OPENED[kind](dataset[kind]);
    },
  };
  TABS().forEach(([view], n) => (acts[n + 1] = () => go({ view }, false)));
  if (event.key in acts && acts[event.key]() !== true) event.preventDefault();
});

document.getElementById("help-button").addEventListener("click", () => show("help"));
document.getElementById("help").addEventListener("click", close);
document.body.addEventListener("click", (event) => { if (event.target === document.body) close(); });  // beside the drawer
window.addEventListener("hashchange", draw);
// once the scripts of contributed views have run
document.addEventListener("DOMContentLoaded", () => {
  document.querySelector("nav").replaceChildren(...TABS().map(([view, { title }]) =>
    el("button", { role: "tab", "data-view": view, "aria-controls": "main", onclick: () => go({ view }, false) }, title)));
  document.getElementById("last-view").textContent = TABS().length;
  ask("about").then(({ title, build }) => {
    document.getElementById("build").textContent = `${title} · ${number(build.samples)} samples`;
    document.title = `CoDi-2 ${title}`;
  }, (error) => { document.getElementById("build").textContent = error.message; });
  draw();
});
