// Small helpers. Text is only ever set as text: nothing that was typed, generated or loaded is read as markup.
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

// Media come as data: URLs of three kinds; anything else shows nothing.
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
export const NAMES = { image: "picture", audio: "sound", video: "clip", text: "text" };

// What happened: shortly for the eye, and in full for those who listen.
export function say(words, spoken = words) {
  $("note").textContent = words;
  $("status").textContent = spoken;
}
