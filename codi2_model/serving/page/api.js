// The API: a request body, and a reply as it is streamed.
import { $ } from "./dom.js";

const USUAL_STEPS = 10;                                 // of a model that was not told how many
let all = ["text", "image", "audio", "video"];
let last = "";                                          // the model that answered last

function headers() {
  const token = $("token").value.trim();
  return { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
}

async function reached(address, options) {
  try { return await fetch(address, options); } catch (error) {
    throw error.name === "AbortError" ? error : new Error("the server cannot be reached");
  }
}

export async function models() {
  const answer = await reached("v1/models", { headers: headers() });
  if (!answer.ok) throw new Error((await answer.json()).error?.message || answer.statusText);
  const model = (await answer.json()).data[0];
  all = model.output_modalities || all;
  last = model.id;
  return { id: model.id, modalities: all };
}

export function answeredBy() { return last; }

export function body(messages, seed = +$("seed").value) {
  const chosen = [...document.querySelectorAll("[name=modality]:checked")].map((box) => box.value);
  const number = (id) => +$(id).value;
  const asked = ["steps", "guidance"].filter((id) => $(id).value !== "");  // else the model's own numbers hold
  return {
    messages, seed, max_tokens: number("max_tokens"), content_format: "list",
    ...Object.fromEntries(asked.map((id) => [id, number(id)])),
    ...(number("temperature") ? { temperature: number("temperature") } : {}),
    ...(chosen.length && chosen.length < all.length ? { modalities: chosen } : {}),
  };
}

export async function stream(request, signal, take) {
  const every = $("previews").checked ? Math.max(1, Math.floor((request.steps || USUAL_STEPS) / 5)) : 0;
  const answer = await reached("v1/chat/completions", {
    method: "POST", headers: headers(), signal, body: JSON.stringify({ ...request, stream: true, preview_every: every }),
  });
  if (!answer.ok) throw refusal(await answer.json().catch(() => ({})), answer.statusText);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const chunk = JSON.parse(line.slice(6));
      if (chunk.error) throw refusal(chunk, "");
      last = chunk.model || last;
      take(chunk.choices[0]?.delta?.content, chunk.codi2);
    }
  }
}

function refusal(answer, otherwise) {
  const error = answer.error;
  return new Error(error ? error.message : otherwise || "the server failed");
}
