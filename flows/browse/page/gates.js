// Decisions of the gate: both models' metrics, with the gain and its interval as a forest plot.
"use strict";

// --- short ids and times; the full value is in the title
const shortId = (id) => String(id ?? "").match(/-\d{8}T\d{6}-([0-9a-f]{4})$/)?.[1] || String(id ?? "").replace(/^[a-z]+-(?=[0-9a-f]{8})/, "").slice(0, 8);
const idOf = (id) => el("code", { class: "id", title: id }, shortId(id));

function when(stamp) {
  const date = new Date(stamp);
  if (!stamp || Number.isNaN(date.getTime())) return el("span", { class: "faint" }, "–");
  const now = new Date(), year = date.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  const day = date.toDateString() === now.toDateString() ? "today" : date.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...year });
  const hour = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return el("time", { datetime: stamp, title: `${date.toISOString().slice(0, 19).replace("T", " ")} UTC` }, `${day} ${hour}`);
}
function lasted(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${Number(seconds.toPrecision(2))} s`;
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  return hours ? `${hours} h ${minutes % 60} min` : `${minutes} min ${Math.round(seconds % 60)} s`;
}
function size(bytes) {
  for (const [unit, by] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6]]) if (bytes >= by) return `${(bytes / by).toFixed(1)} ${unit}`;
  return `${Math.round(bytes / 1e3)} kB`;
}
const figure = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;

function gateCard(gate) {
  const verdict = gate.promoted ? "promoted" : "not promoted";
  const pair = gate.champion ? ["candidate ", idOf(gate.candidate), " against ", idOf(gate.champion)] : ["candidate ", idOf(gate.candidate), ", the first model"];
  return el("article", { class: "gate", tabindex: 0, "aria-label": `${verdict}: ${shortId(gate.candidate)}` },
    el("h2", {}, el("span", { class: `verdict ${gate.promoted ? "good" : "bad"}` }, verdict), el("span", { class: "facts" }, pair),
      el("span", { class: "facts side" }, "on build ", idOf(gate.build_id), " · ", when(gate.created_at))),
    gate.lines.length ? [el("p", { class: "facts" }, why(gate)), forest(gate.lines)] : el("p", { class: "facts" }, "There was no champion to compare with."));
}

// the end of the reason, without the values, which are in the table
const why = (gate) => (gate.reason || "").split(": ").pop().replaceAll(/\b[0-9a-f]{16}\b/g, (id) => shortId(id));
const toneOf = (line) => (!line.passed ? "bad" : line.role === "chosen" ? "good" : "calm");

function forest(lines) {
  const reach = Math.max(0.01, ...lines.flatMap((line) => [Math.abs(line.low), Math.abs(line.high), Math.abs(line.gain)])) * 1.08;
  const chosen = [...lines].sort((a, b) => (a.role === "chosen" ? 0 : 1) - (b.role === "chosen" ? 0 : 1));
  const scale = el("span", { class: "scale" }, el("span", {}, "worse"), el("span", {}, "gain, 95 %"), el("span", {}, "better"));
  const shown = table(["metric", "candidate", "champion", scale, "", "pairs"], chosen.map((line) => [
    el("span", {}, words(line.metric).replace(":", ": "), el("span", { class: "role" }, line.role === "chosen" ? "decides" : "guard")),
    figure(line.candidate_value), figure(line.champion_value), interval(line, reach),
    el("span", { class: toneOf(line) }, signed(line.gain)), number(line.n)]), [1, 2, 4, 5]);
  shown.classList.add("forest");
  return shown;
}

function interval(line, reach) {
  const width = 280, height = 34, x = (value) => (width / 2) * (1 + value / reach);
  const said = `gain ${signed(line.gain)}, from ${signed(line.low)} to ${signed(line.high)}`;
  const mark = line.role === "chosen" ? svg("circle", { cx: x(line.gain), cy: height / 2, r: 5 }) : svg("rect", { x: x(line.gain) - 4, y: height / 2 - 4, width: 8, height: 8 });
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said, class: `interval ${toneOf(line)}` }, svg("title", {}, said),
    svg("line", { x1: width / 2, x2: width / 2, y1: 0, y2: height, class: "zero" }),
    svg("line", { x1: x(line.low), x2: x(line.high), y1: height / 2, y2: height / 2, class: "reach" }),
    ...[line.low, line.high].map((end) => svg("line", { x1: x(end), x2: x(end), y1: height / 2 - 4, y2: height / 2 + 4, class: "reach" })), mark);
}
