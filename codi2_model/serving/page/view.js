// Messages on the page: text, media players, streaming replies, and the buttons of media.
import { $, button, element, kindOf, NAMES, source } from "./dom.js";
import { spectrogram } from "./media.js";

function player(part, name = part.label || NAMES[kindOf(part)]) {
  const kind = kindOf(part);
  if (kind === "image") return element("img", { src: source(part), alt: name });
  if (kind === "video") return element("video", { src: source(part), controls: true, loop: true, muted: true, ariaLabel: name });
  const canvas = element("canvas", { className: "spectrogram" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `spectrogram of ${name}`);
  spectrogram(canvas, (part.input_audio || part.audio).data).catch(() => canvas.remove());
  return element("div", {}, element("audio", { src: source(part), controls: true, ariaLabel: name }), canvas);
}

export function medium(part, use, before) {
  const kind = kindOf(part), name = part.label || NAMES[kind];
  const figure = element("figure", { className: kind }, player(part)), row = element("div", { className: "tools" });
  if (use) row.append(button("Use as input", () => use(part)));
  if (before) row.append(button("Before / after", (event) => compare(event.target, figure, before, part), { ariaPressed: "false" }));
  const file = { image: "png", audio: "wav", video: "mp4" }[kind];
  if (use) row.append(button("Save", () => element("a", { href: source(part), download: `codi2.${file}` }).click(), { ariaLabel: `Save the ${name}` }));
  if (row.childNodes.length) figure.append(row);
  return figure;
}

function compare(toggle, figure, before, after) {
  const shown = toggle.ariaPressed === "true";
  toggle.ariaPressed = String(!shown);
  figure.firstChild.replaceWith(shown ? player(after) : kindOf(after) === "image" ? slider(before, after) : beside(before, after));
}

function slider(before, after) {                        // two images, one over the other
  const over = element("img", { src: source(after), alt: "after" });
  const range = element("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: "From before to after" });
  const move = () => { over.style.clipPath = `inset(0 0 0 ${range.value}%)`; };
  range.addEventListener("input", move);
  move();
  return element("div", { className: "compare" },
    element("div", { className: "pair" }, element("img", { src: source(before), alt: "before" }), over), range);
}

const beside = (before, after) => element("div", { className: "compare beside" },
  element("span", { textContent: "before" }), player(before, "before"), element("span", { textContent: "after" }), player(after, "after"));

export function turn(role, content, options = {}) {
  const node = element("article", { className: `turn ${role}`, ariaLabel: { user: "You", assistant: "CoDi-2", error: "Error" }[role] });
  for (const part of content)
    node.append(part.type === "text" ? element("span", { className: "said", textContent: part.text })
      : medium(part, options.use, options.before?.[kindOf(part)]));
  if (!content.length) node.append(element("span", { className: "said", textContent: "(empty reply)" }));
  $("log").append(node);
  if (options.tools) $("log").append(options.tools);
  $("log").scrollTop = $("log").scrollHeight;
  return node;
}

// A reply while it is streamed: text, and media with progress and previews.
export class StreamingReply {
  constructor() {
    this.content = [];
    this.node = element("article", { className: "turn assistant wait", ariaLabel: "CoDi-2" }, element("span", { className: "dots" }));
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
    const bar = element("progress", { max: 1, value: 0, ariaLabel: `generating ${NAMES[event.modality]}` });
    this.waiting = element("figure", { className: `waiting ${event.modality}` }, bar, `${NAMES[event.modality]} …`);
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
