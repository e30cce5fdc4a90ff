// The lineage of a sample: parts, assets, files in packages, and operators.
"use strict";

async function openLineage(sampleId) {
  const drawer = document.getElementById("drawer");
  drawer.replaceChildren(el("p", {}, "…"));
  drawer.setAttribute("aria-label", "Lineage");
  show("drawer");
  drawer.dataset.wanted = sampleId;
  let content;
  try {
    const found = await ask(`lineage/${sampleId}`);
    content = [el("button", { class: "plain close", onclick: close, "aria-label": "Close" }, "close"),
      el("h2", {}, el("a", { href: pageOf(sampleId), onclick: close }, words(found.sample.task))), ...lineageOf(found).flat()];
  } catch (error) {
    content = [el("p", { class: "error", role: "alert" }, error.message)];
  }
  if (drawer.dataset.wanted !== sampleId) return;  // another one was opened in the meantime
  drawer.replaceChildren(...content);
  drawer.dataset.sample = sampleId;
}

// facts, sections of the parts, planner
function lineageOf(found) {
  const { sample } = found;
  const seen = new Set();
  const shown = found.parts.filter((part) => part.asset && !seen.has(part.asset_id) && seen.add(part.asset_id));
  return [
    facts({ sample: sample.sample_id, template: sample.template, seed: sample.seed, licence: sample.licence, shard: sample.shard,
      ...Object.fromEntries(Object.entries(sample.meta).map(([key, value]) => [key, value])) }),
    shown.map((part) => el("section", {}, el("h3", {}, `part ${part.position}`, el("span", { class: "facts" }, ROLES[part.icl_role] || "")), assetOf(part.asset))),
    el("section", {}, el("h3", {}, "planned by"), found.planned_by.map((run) => el("pre", {}, `${run.op} v${run.op_version} ${run.params}`))),
  ];
}

function assetOf(asset) {
  const file = { image: "webp", audio: "flac", video: "mp4" }[asset.modality];
  const picture = file ? medium({ media: `media/${asset.asset_id}.${file}`, caption: asset.caption }, asset.modality) : null;
  if (asset.op) {
    return el("div", { class: "asset" }, picture,
      facts({ "made by": `${asset.op} ${asset.params}`, asset: asset.asset_id, licence: asset.licence }),
      el("p", { class: "from" }, "from"), ...asset.inputs.map(assetOf));
  }
  const row = asset.source_row;
  const signals = (asset.signals || []).map((s) => `${s.name} ${s.numbers ? `(${s.numbers} numbers)` : s.text !== null && s.text !== undefined ? (s.text.length > 40 ? `${s.text.slice(0, 36)}…` : s.text) : Number(s.value.toPrecision(4))}`);
  return el("div", { class: "asset" }, picture,
    facts({ caption: asset.caption, file: row.locator, package: row.version && !row.source.endsWith(row.version) ? `${row.source} ${row.version}` : row.source, licence: row.licence, author: row.author, corpus: row.corpus, asset: asset.asset_id }),
    el("details", {}, el("summary", {}, "operators and signals"),
      ...(asset.operators || []).map((run) => el("pre", {}, `${run.stage}: ${run.op} v${run.op_version} ${run.params}`)), el("p", {}, signals.join(", "))));
}

function facts(entries) {
  return el("dl", { class: "list" }, Object.entries(entries).filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([key, value]) => [el("dt", {}, key), el("dd", {}, String(value))]));
}
