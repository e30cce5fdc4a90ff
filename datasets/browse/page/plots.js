// Bar charts and histograms in SVG.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function statistics({ bars, histograms }) {
  const grouped = new Map();
  for (const row of histograms) {
    const name = `${row.op}: ${row.name}`;
    if (!grouped.has(name)) grouped.set(name, []);
    grouped.get(name).push(row);
  }
  return [...bars.filter(({ rows }) => rows.length).map(({ title, rows }) => barChart(title, rows)),
    grouped.size ? el("h2", { class: "apart" }, "Signals") : null,
    el("div", { class: "small-plots" }, [...grouped].map(([name, rows]) => histogram(name, rows)))].filter(Boolean);
}

function barChart(title, rows) {
  const parts = [...new Set(rows.map((row) => row.part))].sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1));
  const totals = new Map();
  for (const row of rows) totals.set(row.label, (totals.get(row.label) || 0) + row.n);
  const labels = [...totals.keys()].sort((a, b) => totals.get(b) - totals.get(a));
  const most = Math.max(...totals.values()), step = 24;
  const narrow = innerWidth <= 760, left = narrow ? 150 : 190, width = narrow ? 140 : 560, room = narrow ? 60 : 80;
  const chart = svg("svg", { viewBox: `0 0 ${left + width + room} ${labels.length * step + 4}`, role: "img", "aria-label": title });
  labels.forEach((label, y) => {
    chart.append(svg("text", { x: left - 10, y: y * step + 16, "text-anchor": "end" }, words(label || "(none)")));
    let x = left;
    for (const part of parts) {
      const n = rows.find((row) => row.label === label && row.part === part)?.n || 0;
      const bar = svg("rect", { x, y: y * step + 4, width: (n / most) * width, height: step - 8, class: `part${parts.indexOf(part)}` }, svg("title", {}, `${words(label)}, ${part}: ${number(n)}`));
      if (n) chart.append(bar);
      x += (n / most) * width;
    }
    chart.append(svg("text", { x: x + 8, y: y * step + 16, class: "count" }, number(totals.get(label))));
  });
  return el("section", { class: "plot" }, el("h2", {}, title, el("span", { class: "legend" }, parts.map((part, n) => el("span", { class: `key part${n}` }, part)))), chart);
}
const order = (part) => ["train", "validation", "test"].indexOf(part);

function histogram(name, rows) {
  const bins = 24, most = Math.max(...rows.map((row) => row.n)), width = 240, height = 70;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height + 16}`, role: "img", "aria-label": name });
  for (const { bin, n } of rows) {
    const tall = Math.max(1, (n / most) * height);
    chart.append(svg("rect", { x: (bin * width) / bins + 0.5, y: height - tall, width: width / bins - 1, height: tall, class: "part0" }, svg("title", {}, number(n))));
  }
  const short = (value) => String(Number(value.toPrecision(3)));
  chart.append(svg("text", { x: 0, y: height + 13 }, short(rows[0].low)), svg("text", { x: width, y: height + 13, "text-anchor": "end" }, short(rows[0].high)));
  return el("figure", { class: "histogram" }, el("figcaption", {}, name), chart);
}
