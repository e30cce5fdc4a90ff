// The lineage of a model as a graph: model, run, build, tasks, corpora. The width of a line is the number of samples.
"use strict";

const LAYERS = ["model", "trained by", "on build", "tasks", "corpora"];
let graph = null;  // the current graph: nodes by id, edges
VIEWS.lineage = { title: "Lineage", drawn: async (asked) => [await modelView(asked)], placed: () => drawEdges() };
DETAILS.models = "lineages";

async function modelView(asked) {
  graph = null;
  const models = await ask("models");
  if (!models.length) return [empty("No models yet.", "codi2 train makes one; codi2 retrain also promotes it if it is better.")];
  const chosen = asked.model || models[0].checkpoint_id;
  const found = await ask(`models/${chosen}`);
  graph = graphOf(found);
  return [headline(found, modelChoice(models, chosen)), drawn(graph), ...beneath(found)].filter(Boolean);
}

function modelChoice(models, chosen) {
  const known = models.some((row) => row.checkpoint_id === chosen) ? models : [{ checkpoint_id: chosen }, ...models];
  return el("select", { id: "by-model", "aria-label": "Model", onchange: (event) => go({ view: "lineage", model: event.target.value }, false) },
    known.map((row) => el("option", { value: row.checkpoint_id, selected: row.checkpoint_id === chosen },
      `${shortId(row.checkpoint_id)}${row.in_place ? "  promoted" : row.since ? "  formerly promoted" : ""}`)));
}

function headline(found, choice) {
  const works = found.licences.reduce((sum, use) => sum + use.works, 0), since = found.deployments[0]?.since;
  return el("div", { class: "headline" },
    el("h2", {}, "Model ", el("code", { class: "id", title: found.checkpoint.checkpoint_id }, shortId(found.checkpoint.checkpoint_id)),
      el("span", { class: `verdict ${found.in_place ? "good" : ""}` }, found.in_place ? "promoted" : found.deployments.length ? "formerly promoted" : "never promoted"), choice),
    el("p", { class: "facts" }, found.in_place ? ["since ", when(since), " · "] : null,
      found.trainings.length ? `trained on ${number(works)} works under ${found.licences.length} licence${found.licences.length === 1 ? "" : "s"}` : "its training run is not in this catalog",
      found.answered ? ` · answered ${number(found.answered)} requests of batches` : null));
}

// --- nodes and edges; tasks and corpora are ordered so that few lines cross
function untangled(found) {
  const { tasks, corpora } = found, shares = found.shares;
  const middle = (others, name, mine, theirs) => {
    const mineShares = shares.filter((share) => share[mine] === name), all = mineShares.reduce((sum, share) => sum + share.samples, 0);
    return all ? mineShares.reduce((sum, share) => sum + share.samples * others.findIndex((use) => use[theirs] === share[theirs]), 0) / all : others.length;
  };
  let left = tasks, right = corpora;
  for (let round = 0; round < 4; round++) {
    const before = left, places = new Map(right.map((use) => [use.corpus, middle(before, use.corpus, "corpus", "task")]));
    right = [...right].sort((a, b) => places.get(a.corpus) - places.get(b.corpus));
    const after = right, seats = new Map(left.map((use) => [use.task, middle(after, use.task, "task", "corpus")]));
    left = [...left].sort((a, b) => seats.get(a.task) - seats.get(b.task));
  }
  return { ...found, tasks: left, corpora: right };
}
function graphOf(found) {
  const nodes = new Map(), edges = new Map();
  const node = (id, layer, title, lines, open, faint = false) => { if (!nodes.has(id)) nodes.set(id, { id, layer, title, lines, open, faint }); return id; };
  const edge = (from, to, weight = 0, kind = "") => { const key = `${from}>${to}`; edges.set(key, { from, to, weight: (edges.get(key)?.weight || 0) + weight, kind }); };
  const top = node(`model:${found.checkpoint.checkpoint_id}`, 0, shortId(found.checkpoint.checkpoint_id), [found.in_place ? "promoted" : "", found.checkpoint.step === null ? "" : `step ${number(found.checkpoint.step)}`], () => modelFacts(found));
  let model = top;
  for (const training of found.trainings) {
    const { run, origin } = training;
    const ran = node(`run:${run.run_id}`, 1, shortId(run.run_id), [when(run.created_at), `took ${lasted(run.seconds)}`], () => openRun(run.run_id));
    edge(model, ran);
    if (run.build_id) edge(ran, buildOf(training, node, edge));
    if (run.start) {
      model = node(`model:${run.start}`, 0, shortId(run.start), ["initial weights"], () => go({ view: "lineage", model: run.start }, false));
      edge(ran, model, 0, "began");
    }
  }
  return { nodes, edges: [...edges.values()] };
}

function buildOf({ run, origin, parents }, node, edge) {
  if (!origin) return node(`build:${run.build_id}`, 2, shortId(run.build_id), ["no longer in the catalog"], () => openFacts("Build", { build: run.build_id, about: "no longer in the catalog" }), true);
  const { build, tasks, corpora, shares } = untangled(origin);
  const built = node(`build:${build.build_id}`, 2, shortId(build.build_id), [build.recipe, `${number(build.samples || 0)} samples`], () => buildFacts(build, parents));
  for (const use of tasks) {
    const drawn = node(`task:${use.task}`, 3, words(use.task), [use.trained ? `${number(use.train)} samples` : "not trained on"], () => taskFacts(use, shares), !use.trained);
    edge(built, drawn, use.trained ? use.train : 0, use.trained ? "" : "idle");
  }
  for (const use of corpora) {
    const drawn = node(`corpus:${use.corpus}@${use.revision}`, 4, use.corpus, [use.licence || "licence unknown", use.works ? `${number(use.works)} works` : "not trained on"], () => corpusFacts(use, shares), !use.works);
    for (const share of shares) if (share.corpus === use.corpus) edge(`task:${share.task}`, drawn, share.samples);
  }
  return built;
}

function drawn({ nodes }) {
  const columns = LAYERS.map((title, layer) => {
    const held = [...nodes.values()].filter((node) => node.layer === layer);
    return held.length ? el("div", { class: `layer layer${layer}` }, el("h3", {}, title), el("div", { class: "held" }, held.map(nodeButton))) : null;
  });
  return el("div", { class: "graph", role: "group", "aria-label": "Lineage of the model" }, svg("svg", { class: "edges", "aria-hidden": "true" }), columns);
}
function nodeButton(node) {
  const related = () => light(node.id);
  return el("button", { class: `node${node.faint ? " idle" : ""}`, "data-node": node.id, onclick: node.open, onfocus: related, onmouseenter: related, onblur: () => light(null), onmouseleave: () => light(null) },
    el("strong", {}, node.title), node.lines.filter(Boolean).map((line) => el("span", {}, line)));
}

// lines follow the positions of the buttons: columns on a wide page, rows on a narrow one
function drawEdges() {
  const box = document.querySelector(".graph");
  if (!box || !graph) return;
  const canvas = box.querySelector(".edges"), frame = box.getBoundingClientRect();
  const places = new Map([...box.querySelectorAll(".node")].map((button) => [button.dataset.node, button.getBoundingClientRect()]));
  const wide = getComputedStyle(box).getPropertyValue("--flow").trim() !== "down";
  const most = Math.max(1, ...graph.edges.map((edge) => edge.weight));
  canvas.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
  canvas.replaceChildren(...graph.edges.map((edge) => {
    const from = places.get(edge.from), to = places.get(edge.to);
    const path = svg("path", { d: wide ? across(from, to, frame, edge.kind) : down(from, to, frame), class: `edge ${edge.kind}` });
    path.style.strokeWidth = `${edge.weight ? 1 + 5 * Math.sqrt(edge.weight / most) : 1.5}px`;
    path.dataset.from = edge.from;
    path.dataset.to = edge.to;
    return path;
  }));
}
function across(from, to, frame, kind) {
  const y1 = from.top + from.height / 2 - frame.top, y2 = to.top + to.height / 2 - frame.top;
  const x1 = (kind === "began" ? from.left : from.right) - frame.left, x2 = (kind === "began" ? to.right : to.left) - frame.left, bend = (x2 - x1) / 2;
  return `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
}
function down(from, to, frame) {
  const x1 = from.left + from.width / 2 - frame.left, x2 = to.left + to.width / 2 - frame.left;
  const y1 = from.bottom - frame.top, y2 = to.top - frame.top, bend = Math.max(16, Math.min(60, (y2 - y1) / 2));
  return `M${x1},${y1} C${x1},${y1 + bend} ${x2},${y2 - bend} ${x2},${y2}`;
}

// all ancestors and descendants of a node
function related(id) {
  const found = new Set([id]);
  for (const [here, there] of [["from", "to"], ["to", "from"]]) {
    const queue = [id];
    while (queue.length) {
      const at = queue.pop();
      for (const edge of graph.edges) if (edge[here] === at && edge.kind !== "idle" && !found.has(edge[there])) { found.add(edge[there]); queue.push(edge[there]); }
    }
  }
  return found;
}
function light(id) {
  const box = document.querySelector(".graph");
  if (!box || !graph) return;
  box.classList.toggle("lit", id !== null);
  const near = id === null ? new Set() : related(id);
  for (const button of box.querySelectorAll(".node")) button.classList.toggle("near", near.has(button.dataset.node));
  for (const path of box.querySelectorAll(".edge")) path.classList.toggle("near", near.has(path.dataset.from) && near.has(path.dataset.to));
}
window.addEventListener("resize", () => drawEdges());

// --- below the graph
function beneath(found) {
  const licences = found.licences.map((use) => ({ label: use.licence || "unknown", part: "works", n: use.works }));
  return [
    licences.length ? barChart("Licences of all sources", licences) : null,
    el("h2", { class: "apart" }, "Decisions"),
    ...(found.gates.length ? found.gates.map(gateCard) : [empty("None.", "")]),
    found.evaluations.length ? el("h2", { class: "apart" }, "Evaluations") : null,
    found.evaluations.length ? table(["evaluation", "on build", "when", "metrics"], found.evaluations.map((row) => [
      el("button", { class: "plain open", onclick: () => openRun(row.run_id), title: row.run_id }, shortId(row.run_id)), idOf(row.build_id), when(row.created_at), number(row.metrics.length)]), [3]) : null,
    found.deployments.length ? el("h2", { class: "apart" }, "Promotions") : null,
    found.deployments.length ? table(["since", "why"], found.deployments.map((row) => [when(row.since), row.reason || ""])) : null];
}

// --- details of a node
function openFacts(title, entries, ...more) {
  const drawer = document.getElementById("drawer");
  drawer.setAttribute("aria-label", title);
  delete drawer.dataset.wanted;
  drawer.replaceChildren(closing(), el("h2", {}, title), facts(entries), ...more.filter(Boolean));
  show("drawer");
}
function modelFacts({ checkpoint, trainings, evaluations, answered }) {
  openFacts("Model", { checkpoint: checkpoint.checkpoint_id, step: checkpoint.step, "sha256 of the weights": checkpoint.sha256, "trained by": checkpoint.run_id, evaluations: evaluations.length, "answers in batches": answered || "", "trained on": trainings[0]?.tasks.map(words).join(", ") });
}
function buildFacts(build, parents) {
  const environment = JSON.parse(build.environment || "{}");
  openFacts("Build", { build: build.build_id, recipe: build.recipe, "recipe hash": build.recipe_hash, samples: number(build.samples || 0), published: stamp(build.created_at), seed: build.seed, limit: build.row_limit, code: build.code_version, machine: machineOf(environment) },
    parents.length ? el("h3", {}, "earlier builds") : null,
    parents.length ? table(["build", "published", "samples"], parents.map((row) => [idOf(row.build_id), when(row.created_at), number(row.samples || 0)]), [2]) : null);
}
function taskFacts(use, shares) {
  const mine = shares.filter((share) => share.task === use.task);
  openFacts(words(use.task), { "trained on": use.trained ? `${number(use.train)} samples` : "no: the run has other tasks", "held out": `${number(use.validation)} validation, ${number(use.test)} test samples`, shards: `${number(use.shards)}, ${size(use.bytes)}` },
    mine.length ? el("h3", {}, "corpora") : null, mine.length ? table(["corpus", "samples"], mine.map((share) => [share.corpus, number(share.samples)]), [1]) : null, looking({ task: use.task }));
}
function corpusFacts(use, shares) {
  const mine = shares.filter((share) => share.corpus === use.corpus);
  openFacts(use.corpus, { about: use.description, licence: use.licence || "unknown", source: use.source, revision: use.revision, rows: number(use.rows), "used in training": `${number(use.works)} works in ${number(use.samples)} samples` },
    mine.length ? el("h3", {}, "tasks") : null, mine.length ? table(["task", "samples"], mine.map((share) => [words(share.task), number(share.samples)]), [1]) : null, looking({ corpus: use.corpus }));
}
const looking = (choice) => el("p", {}, el("button", { class: "plain", onclick: () => { close(); go({ view: "samples", ...choice }, false); } }, "browse its samples"));
