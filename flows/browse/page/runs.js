// The runs of a root with their results, the gate's decisions, and the history of builds. A run opens with its losses and pages.
"use strict";

const RUN_FACETS = ["kind", "status"];
const RUNS = 12;  // on a page
VIEWS.runs = { title: "Runs", async drawn(asked, rest) {
  const [found, gates, history] = await Promise.all([ask("runs", rest), ask("gates"), ask("history")]);
  return [runsView(found, gates, history), filters(found.facets, asked, RUN_FACETS)];
} };
OPENED.run = (name) => openRun(name);
DETAILS.runs = "details";
ANSWERS.runs = (asked) => {
  const fits = (row, but) => RUN_FACETS.every((f) => f === but || !(f in asked) || (row[f] || "") === asked[f])
    && (!asked.q || [row.run_id, row.build_id, row.kind, row.status, row.reason].some((text) => holds(text, asked.q)));
  return page(still.runs, "runs", fits, RUN_FACETS, (row, f) => [row[f] || ""], asked, RUNS);
};

const GOOD = ["finished", "completed", "published"], BUSY = ["running", "pending", "waiting"];
const tone = (status) => (GOOD.includes(status) ? "good" : BUSY.includes(status) ? "busy" : status === "cancelled" ? "calm" : "bad");
const KINDS = { train: "training", evaluation: "evaluation" };
const finishedOnly = (kind) => kind in KINDS;  // recorded at the end of the run, with that time
const kindOf = (kind) => words(KINDS[kind] || (kind || "run").replaceAll("-", " "));

function runsView(found, gates, history) {
  follow(found.runs);
  return [
    el("h2", { class: "apart" }, "Runs"),
    ...(found.total || found.facets.kind.length ? [pager(found, RUNS, "runs"), runTable(found.runs)]
      : [empty("No runs yet.", "codi2 retrain RECIPE builds, trains, evaluates and decides on a promotion.")]),
    el("h2", { class: "apart" }, "Decisions"),
    ...(gates.length ? [few(gates, 6, "decisions", (some) => some.map(gateCard))] : [empty("No decisions yet.", "codi2 retrain compares a new model with the promoted one.")]),
    el("h2", { class: "apart" }, "Build history"), few(history, 12, "builds", (some) => historyTable(some, history))];
}
// the first rows, and the others on demand
function few(rows, shown, what, drawn) {
  const box = el("div", {}, drawn(rows.slice(0, shown)));
  if (rows.length > shown) box.append(el("button", { onclick: () => box.replaceChildren(...[drawn(rows)].flat()) }, `show all ${number(rows.length)} ${what}`));
  return box;
}
const empty = (text, more) => el("p", { class: "empty" }, text, " ", el("span", { class: "faint" }, more));

function runTable(rows) {
  const shown = table(["status", "what", "when", "took", "build", "result"], rows.map((row) => [
    el("span", { class: `status ${tone(row.status)}` }, row.status || "unknown"),
    el("button", { class: "plain open", onclick: () => openRun(row.run_id), title: row.run_id }, kindOf(row.kind), " ", el("code", {}, shortId(row.run_id))),
    when(row.created_at), tone(row.status) === "busy" ? `${lasted(Math.max(0, (Date.now() - new Date(row.created_at)) / 1000))} so far` : lasted(row.seconds), row.build_id ? idOf(row.build_id) : el("span", { class: "faint" }, "–"), outcome(row)]));
  shown.classList.add("runs");
  [...shown.querySelectorAll("tbody tr")].forEach((line, n) => { line.dataset.run = rows[n].run_id; });
  return shown;
}

// the table is refreshed while a run is active; the focus stays on its row
let following = null;
function follow(rows) {
  clearTimeout(following);
  if (still || !rows.some((row) => tone(row.status) === "busy")) return;
  following = setTimeout(async () => {
    const { view, ...asked } = state(), mine = drawing;
    if (view !== "runs") return;
    const next = await ask("runs", asked).catch(() => null), shown = document.querySelector(".runs");
    if (next && shown && mine === drawing) {
      const at = shown.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.run : null;
      const fresh = runTable(next.runs);
      shown.replaceWith(fresh);
      if (at) fresh.querySelector(`[data-run="${CSS.escape(at)}"] .open`)?.focus({ preventScroll: true });
    }
    if (view === state().view) follow(next ? next.runs : rows);
  }, EVERY);
}
const EVERY = 4000;  // milliseconds

function outcome(row) {
  const part = row.parent ? el("span", { class: "faint block" }, "part of ", words(row.parent.replace(/-\d{8}T.*$/, "").replaceAll("-", " ")), " ", idOf(row.parent)) : null;
  const again = row.attempt > 1 ? el("span", { class: "faint block" }, `attempt ${row.attempt}`) : null;
  if (tone(row.status) === "busy") return el("div", {}, row.progress ? progressOf(row.progress) : null, row.silent > 60 ? el("span", { class: "bad block" }, `no heartbeat for ${lasted(row.silent)}`) : null, again, part);
  if (["bad", "calm"].includes(tone(row.status))) return el("div", {}, el("span", { class: `${tone(row.status)} reason`, title: row.reason }, row.reason || "no reason recorded"), again, part);
  const model = row.checkpoint_id ? [row.kind === "train" ? "model " : "of model ", idOf(row.checkpoint_id)] : [];
  if (row.candidate) return el("div", {}, "model ", idOf(row.candidate), ", ", el("span", { class: row.promoted ? "good" : "bad" }, row.promoted ? "promoted" : "not promoted"), again, part);
  const figures = row.figures ? `${number(row.figures)} metrics` : "";
  return el("div", {}, model, model.length && figures ? ", " : "", figures, again, part);
}
function progressOf({ step, done, total, unit, seconds_left: left }) {
  if (done >= total) return el("span", {}, `${words(step || "a step")} is done`);
  return el("div", {}, el("span", {}, `${words(step || "")}: ${number(done)} of ${number(total)} ${unit || ""}`, left === null ? "" : `, ${lasted(left)} left`),
    el("progress", { max: total, value: done, "aria-label": `${words(step || "progress")}` }));
}

function historyTable(rows, all) {
  const most = Math.max(1, ...rows.map((row) => row.samples || 0));
  const shown = table(["build", "recipe", "published", "samples", "share", "shards", "changes"], rows.map((row) => [
    idOf(row.build_id), row.recipe || "", when(row.created_at), number(row.samples || 0), bar(row.samples || 0, most),
    el("span", {}, `${number(row.shards)}, ${size(row.bytes)}`, row.parent ? el("span", { class: "faint block" }, row.written ? `${number(row.written)} new, ${size(row.bytes_written)}` : "all unchanged") : null),
    changesOf(row, all.find((other) => other.build_id === row.parent))]), [3]);
  shown.classList.add("history");
  return shown;
}
function bar(value, most) {
  return svg("svg", { viewBox: "0 0 120 12", class: "bar", "aria-hidden": "true" }, svg("rect", { x: 0, y: 1, width: Math.max(1, (value / most) * 120), height: 10, rx: 2, class: "part0" }));
}
function changesOf(row, parent) {
  if (!row.parent) return el("span", { class: "faint" }, "the first build");
  const more = parent ? (row.samples || 0) - (parent.samples || 0) : 0;
  const told = (row.changes || []).map(([name, before, after]) => el("li", {}, el("code", {}, name), " ",
    before === null ? `added${plain(after)}` : after === null ? "removed" : `${before} → ${after}`));
  return el("div", {}, more ? el("span", {}, `${more > 0 ? "+" : "−"}${number(Math.abs(more))} samples`) : null,
    told.length ? el("details", { "aria-label": "Changed settings" }, el("summary", {}, `${number(told.length + (row.more_changes || 0))} settings changed`), el("ul", {}, told, row.more_changes ? el("li", {}, `and ${number(row.more_changes)} more`) : null))
      : el("span", { class: "faint block" }, "same settings"));
}
const plain = (value) => (value === true || value === "{}" ? "" : `: ${value}`);

// --- one run
async function openRun(runId) {
  const drawer = document.getElementById("drawer");
  drawer.replaceChildren(el("p", {}, "…"));
  drawer.setAttribute("aria-label", "Run");
  show("drawer");
  drawer.dataset.wanted = runId;
  let content;
  try {
    content = runOf(await ask(`runs/${runId}`));
  } catch (error) {
    content = [closing(), el("p", { class: "error", role: "alert" }, error.message)];
  }
  if (drawer.dataset.wanted !== runId) return;  // another one was opened in the meantime
  drawer.replaceChildren(...content.filter(Boolean));
  drawer.dataset.run = runId;
}
const closing = () => el("button", { class: "plain close", onclick: close, "aria-label": "Close" }, "close");

function runOf({ run, parts, metrics, checkpoints, losses, log, sheet, page: address }) {
  const models = checkpoints.map((row) => row.checkpoint_id), judged = metrics[0]?.checkpoint_id;
  const figures = metrics.filter((row) => !row.suite.startsWith("training/"));
  return [
    closing(),
    el("h2", {}, kindOf(run.kind)),
    facts({ run: run.run_id, status: run.status, reason: run.reason, "part of": run.parent, attempt: run.attempt > 1 ? run.attempt : "", made: models.join(", "), "of model": models.length ? "" : judged, build: run.build_id,
      [finishedOnly(run.kind) ? "recorded" : "started"]: stamp(run.created_at), ended: stamp(run.ended_at), took: run.seconds === null ? "" : lasted(run.seconds), "initial weights": run.start, seed: run.seed, workers: run.workers, code: run.code_version, machine: machineOf(run.environment) }),
    models.length || judged ? el("p", {}, el("button", { class: "plain", onclick: () => { close(); go({ view: "lineage", model: models[0] || judged }, false); } }, "lineage of this model")) : null,
    parts.length ? el("h3", {}, "Parts") : null,
    parts.length ? table(["status", "what"], parts.map((part) => [el("span", { class: `status ${tone(part.status)}` }, part.status), el("button", { class: "plain open", onclick: () => openRun(part.run_id), title: part.run_id }, kindOf(part.kind), " ", el("code", {}, shortId(part.run_id)))])) : null,
    losses.length ? el("h3", {}, "Losses", el("span", { class: "facts" }, "dots: validation")) : null, ...lossPlots(losses),
    figures.length ? el("h3", {}, "Metrics") : null, figures.length ? figureTable(figures) : null,
    address ? el("p", {}, el("a", { href: address, target: "_blank", rel: "noopener" }, "Page with all replies")) : null,
    sheet ? el("a", { href: sheet, target: "_blank", rel: "noopener" }, el("img", { src: sheet, alt: "Contact sheet of this evaluation", class: "sheet", loading: "lazy" })) : null,
    log.length ? el("details", { "aria-label": "Last log lines", open: tone(run.status) !== "good" }, el("summary", {}, "Last log lines"),
      el("pre", { class: "said", tabindex: 0 }, log.map((line) => el("span", { class: /error|critical/.test(line.level) ? "bad block" : "block" }, `${(line.time || "").slice(11, 19)}  ${line.message}`)))) : null,
    Object.keys(run.config).length ? el("details", { "aria-label": "Settings" }, el("summary", {}, "Settings"), el("pre", {}, JSON.stringify(run.config, null, 1))) : null,
    Object.keys(run.environment).length ? el("details", { "aria-label": "Environment" }, el("summary", {}, "Environment"), el("pre", {}, JSON.stringify(run.environment, null, 1))) : null];
}
const stamp = (value) => (value ? `${value.slice(0, 19).replace("T", " ")} UTC` : "");
const machineOf = (about) => [about.system, about.processor, about.cores && `${about.cores} cores`, about.packages?.torch && `torch ${about.packages.torch}`].filter(Boolean).join(", ");

function figureTable(rows) {
  const lines = new Map();
  for (const row of rows) {
    const key = [row.suite, row.task, row.metric, row.split].join("|");
    if (!lines.has(key)) lines.set(key, { ...row, value: null, low: null, others: [] });
    const line = lines.get(key);
    if (row.baseline === null) Object.assign(line, { value: row.value, low: row.low, high: row.high, n: row.n });
    else line.others.push(`${words(row.baseline)} ${figure(row.value)}`);
  }
  return table(["task", "metric", "model", "95 %", "baselines"], [...lines.values()].map((line) => [words(line.task || ""), words(line.metric), figure(line.value),
    line.low === null ? "" : `${figure(line.low)} – ${figure(line.high)}`, line.others.join(", ")]), [2]);
}

// --- losses: a plot for each stage, a line for each loss
function lossPlots(lines) {
  const stages = [...new Set(lines.map((line) => line.stage))];
  return stages.map((stage) => lossPlot(stage, lines.filter((line) => line.stage === stage)));
}
const lineOf = (names, name) => (name === "loss" ? "sum" : `part${names.filter((other) => other !== "loss").indexOf(name) % 5}`);
function lossPlot(stage, lines) {
  const drawn = lines.filter((line) => line.split === "train"), names = drawn.map((line) => line.name);
  const dots = lines.filter((line) => line.split !== "train" && names.includes(line.name));
  const points = [...drawn, ...dots].flatMap((line) => line.points);
  if (!points.length) return null;
  const steps = points.map(([step]) => step), values = points.map(([, value]) => value).filter(Number.isFinite);
  const first = Math.min(...steps), last = Math.max(...steps, first + 1), top = Math.max(...values) * 1.05 || 1, low = Math.min(0, ...values);
  const left = 34, width = 440, height = 130, x = (step) => left + ((step - first) / (last - first)) * (width - left - 8), y = (value) => 8 + (1 - (value - low) / (top - low)) * (height - 16);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height + 18}`, role: "img", "aria-label": `Losses of stage ${stage}` });
  for (const level of [low, (low + top) / 2, top]) {
    chart.append(svg("line", { x1: left, x2: width, y1: y(level), y2: y(level), class: "grid" }), svg("text", { x: left - 6, y: y(level) + 4, "text-anchor": "end" }, String(Number(level.toPrecision(2)))));
  }
  for (const line of drawn) chart.append(svg("polyline", { points: line.points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" "), class: `line ${lineOf(names, line.name)}` }, svg("title", {}, line.name)));
  for (const line of dots) for (const [step, value] of line.points) chart.append(svg("circle", { cx: x(step), cy: y(value), r: 3.5, class: `dot ${lineOf(names, line.name)}` }, svg("title", {}, `${line.name}, ${line.split}: ${figure(value)}`)));
  chart.append(svg("text", { x: left, y: height + 14 }, `step ${number(first)}`), svg("text", { x: width, y: height + 14, "text-anchor": "end" }, number(last)));
  return el("figure", { class: "losses" }, el("figcaption", {}, stage, el("span", { class: "legend" }, names.map((name) => el("span", { class: `key ${lineOf(names, name)}` }, words(name))))), chart);
}
