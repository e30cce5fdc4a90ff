// Turns on the page: words, players, what is still being made, and what can be done with each.
import { $, button, element, kindOf, NAMES, source } from "./dom.js";
import { spectrogram } from "./media.js";

function player(part) {
  const kind = kindOf(part);
  if (kind === "image") return element("img", { src: source(part), alt: NAMES[kind] });
  if (kind === "video") return element("video", { src: source(part), controls: true, loop: true, muted: true });
  const canvas = element("canvas", { className: "spectrogram" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "spectrogram of the sound");
  spectrogram(canvas, (part.input_audio || part.audio).data).catch(() => canvas.remove());
  return element("div", {}, element("audio", { src: source(part), controls: true }), canvas);
}

export function medium(part, use, before) {
  const figure = element("figure", {}, player(part)), kind = kindOf(part);
  const row = element("div", { className: "tools" });
  if (use) row.append(button("Use as input", () => use(part)));
  if (before && kind === "image") row.append(button("Before / after", () => compare(figure, before, part)));
  const file = { image: "png", audio: "wav", video: "mp4" }[kind];
  row.append(button("Save", () => element("a", { href: source(part), download: `codi2.${file}` }).click()));
  figure.append(row);
  return figure;
}

function compare(figure, before, after) {
  if (figure.querySelector(".compare")) { figure.firstChild.replaceWith(player(after)); return; }
  const over = element("img", { src: source(after), alt: "after" });
  const slider = element("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: "From before to after" });
  const move = () => { over.style.clipPath = `inset(0 0 0 ${slider.value}%)`; };
  slider.addEventListener("input", move);
  move();
  const pair = element("div", { className: "compare" }, element("img", { src: source(before), alt: "before" }), over);
  figure.firstChild.replaceWith(element("div", { className: "compare" }, pair, slider));
}

export function turn(role, content, options = {}) {
  const node = element("div", { className: `turn ${role}` });
  for (const part of content)
    node.append(part.type === "text" ? element("span", { className: "said", textContent: part.text }) : medium(part, options.use, options.before));
  if (!content.length) node.append(element("span", { className: "said", textContent: "(an empty reply)" }));
  $("log").append(node);
  if (options.tools) $("log").append(options.tools);
  $("log").scrollTop = $("log").scrollHeight;
  return node;
}

// A reply while it comes: what was said so far, media with their progress and previews.
export class Coming {
  constructor() {
    this.content = [];
    this.node = element("div", { className: "turn assistant wait" }, element("span", { className: "dots" }));
    this.node.setAttribute("aria-busy", "true");
    $("log").append(this.node);
    this.waiting = null;
  }

  take(delta, event) {
    if (event?.event === "medium_begun") this.begin(event);
    if (event?.event === "progress" && this.waiting) this.progress(event);
    if (typeof delta === "string" && delta) this.words(delta);
    else if (Array.isArray(delta)) delta.forEach((part) => this.done(part));
    $("log").scrollTop = $("log").scrollHeight;
  }

  words(text) {
    if (this.content.at(-1)?.type !== "text") {
      this.content.push({ type: "text", text: "" });
      this.said = element("span", { className: "said" });
      this.node.lastChild.before(this.said);
    }
    this.content.at(-1).text += text;
    this.said.textContent = this.content.at(-1).text;
  }

  begin(event) {
    const bar = element("progress", { max: 1, value: 0, ariaLabel: `${NAMES[event.modality]} being made` });
    this.waiting = element("figure", { className: "waiting" }, bar, `${NAMES[event.modality]} …`);
    this.node.lastChild.before(this.waiting);
  }

  progress(event) {
    const bar = this.waiting.querySelector("progress");
    bar.max = event.steps;
    bar.value = event.step;
    if (!event.preview) return;
    const preview = player(event.preview);
    preview.classList.add("preview");
    const old = this.waiting.querySelector(".preview");
    if (old) old.replaceWith(preview); else this.waiting.prepend(preview);
  }

  done(part) {
    this.content.push(part);
    const shown = medium(part);
    if (this.waiting) this.waiting.replaceWith(shown); else this.node.lastChild.before(shown);
    this.waiting = null;
  }

  end() { this.node.remove(); }
}
