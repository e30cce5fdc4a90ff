// A sample as a conversation.
"use strict";

const ROLES = { demo_input: "example input", demo_output: "example output", query: "query", target: "target" };

function sampleCard(sample) {
  const turns = new Map();
  for (const part of sample.parts) {
    if (!turns.has(part.turn)) turns.set(part.turn, { role: part.role, parts: [] });
    turns.get(part.turn).parts.push(part);
  }
  const facts = [sample.split, sample.holdout && `unseen ${sample.holdout}`, sample.language !== "en" && sample.language,
    sample.demos && `${sample.demos} example${sample.demos > 1 ? "s" : ""}`, sample.licence].filter(Boolean);
  const open = () => openLineage(sample.sample_id);
  return el("article", { tabindex: 0, "data-sample": sample.sample_id, "aria-label": `${words(sample.task)}, ${sample.split}` },
    el("h2", {}, el("a", { href: pageOf(sample.sample_id), title: "Page of this sample" }, words(sample.task)), el("span", { class: "facts" }, facts.join(" · ")),
      el("button", { class: "plain origin", onclick: open, title: sample.sample_id }, "lineage")),
    [...turns.values()].map(({ role, parts }) => el("div", { class: `turn ${role}` },
      el("span", { class: "speaker" }, role), el("div", { class: "bubble" }, parts.map(partOf)))));
}

// The page of one sample, whose URL can be shared: the conversation, and the lineage beneath it.
const pageOf = (sampleId) => `#${new URLSearchParams({ view: "sample", id: sampleId })}`;
async function samplePage(sampleId) {
  const [sample, lineage] = await Promise.all([ask(`samples/${sampleId}`), ask(`lineage/${sampleId}`)]);
  const [about, sections, planned] = lineageOf(lineage);
  return [el("p", { class: "pager" }, el("a", { href: "#view=samples" }, "← all samples")), sampleCard(sample), el("h2", {}, "Lineage"),
    about, el("div", { class: "parts-of-sample" }, sections), planned];
}

function partOf(part) {
  const role = ROLES[part.icl_role];
  if (part.modality === "text") return el("span", { class: `text ${part.icl_role || ""} ${part.target ? "wanted" : ""}`, title: role }, part.text);
  const about = [part.caption, part.corpus, part.licence, part.op && `made by ${part.op}`].filter(Boolean).join(" · ");
  return el("figure", { class: `${part.icl_role || ""} ${part.target ? "wanted" : ""}`, title: about },
    medium(part, part.modality), role ? el("figcaption", {}, role) : null);
}

function medium(item, modality) {
  const name = item.caption || modality;
  if (modality === "image") return el("img", { src: item.media, alt: name, loading: "lazy", width: 96, height: 96 });
  if (modality === "audio") return el("audio", { src: item.media, controls: true, preload: "metadata", "aria-label": name });
  const clip = el("video", { src: item.media, loop: true, controls: true, playsinline: true, preload: "metadata", width: 96, height: 96, "aria-label": name });
  clip.muted = true;
  return clip;
}
