// Client of the API: builds request bodies and reads streamed replies.
import { $ } from "./dom.js";

const DEFAULT_STEPS = 10;                               // to space previews if the request has no steps
let all = ["text", "image", "audio", "video"];
let last = "";                                          // id of the model that answered last

function headers() {
  const token = $("token").value.trim();
  return { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
}

async function send(url, options) {
  try { return await fetch(url, options); } catch (error) {
    throw error.name === "AbortError" ? error : new Error("The server cannot be reached. Is it running?");
  }
}

export async function models() {
  const response = await send("v1/models", { headers: headers() });
  if (!response.ok) throw new Error((await response.json()).error?.message || response.statusText);
  const model = (await response.json()).data[0];
  all = model.output_modalities || all;
  last = model.id;
  return { id: model.id, modalities: all };
}

export function answeredBy() { return last; }

export function body(messages, seed = +$("seed").value) {
  const chosen = [...document.querySelectorAll("[name=modality]:checked")].map((box) => box.value);
  const number = (id) => +$(id).value;
  const settings = ["steps", "guidance"].filter((id) => $(id).value !== "");  // empty: default of the model
  return {
    messages, seed, max_tokens: number("max_tokens"), content_format: "list",
    ...Object.fromEntries(settings.map((id) => [id, number(id)])),
    ...(number("temperature") ? { temperature: number("temperature") } : {}),
    ...(chosen.length && chosen.length < all.length ? { modalities: chosen } : {}),
  };
}

export async function stream(request, signal, take) {
  const every = $("previews").checked ? Math.max(1, Math.floor((request.steps || DEFAULT_STEPS) / 5)) : 0;
  const response = await send("v1/chat/completions", {
    method: "POST", headers: headers(), signal, body: JSON.stringify({ ...request, stream: true, preview_every: every }),
  });
  if (!response.ok) throw errorOf(await response.json().catch(() => ({})), response.statusText);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const chunk = JSON.parse(line.slice(6));
      if (chunk.error) throw errorOf(chunk, "");
      last = chunk.model || last;
      take(chunk.choices[0]?.delta?.content, chunk.codi2);
    }
  }
}

function errorOf(body, otherwise) {
  return new Error(body.error ? body.error.message : otherwise || "The server failed. Its log has the details.");
}
