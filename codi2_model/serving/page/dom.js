// DOM helpers. Text is always set as text, so that typed, generated or loaded content is never parsed as HTML.
export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function button(label, act, properties = {}) {
  const node = element("button", { type: "button", textContent: label, ...properties });
  node.addEventListener("click", act);
  return node;
}

// The data: URL of a medium; empty for other URLs, which are not shown.
export function source(part) {
  if (part.type === "image_url" || part.type === "video_url") {
    const url = part[part.type].url;
    return /^data:(image|video)\/[\w.+-]+;base64,/.test(url) ? url : "";
  }
  const sound = part.input_audio || part.audio;
  return `data:audio/${/^\w+$/.test(sound.format) ? sound.format : "wav"};base64,${sound.data}`;
}

export const kindOf = (part) =>
  ({ text: "text", image_url: "image", video_url: "video", input_audio: "audio", audio: "audio" })[part.type];
export const NAMES = { image: "image", audio: "audio", video: "video", text: "text" };

// Status messages: short on the screen, in full for screen readers.
export function say(words, spoken = words) {
  $("note").textContent = words;
  $("status").textContent = spoken;
}
