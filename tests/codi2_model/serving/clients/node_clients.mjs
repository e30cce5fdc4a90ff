// Stock JavaScript clients against a server: what each makes of text, an image, audio and a stream. One JSON object on stdout.
//   node node_clients.mjs http://127.0.0.1:8000/v1
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { experimental_generateSpeech as generateSpeech, generateImage, generateText, streamText } from "ai";
import OpenAI from "openai";

const [base] = process.argv.slice(2), model = "codi2-tiny";
const TEXT = "Say hello.", IMAGE = "Draw an apple.", AUDIO = "Play a drum.";
const found = (text, image, audio) => ({ text: text.trim(), image: Boolean(image), audio: Boolean(audio) });
const said = (content) => [{ role: "user", content }];

function openaiNode() {
  const client = new OpenAI({ baseURL: base, apiKey: "x", maxRetries: 0 });
  const drawn = (output) => output.some((item) => item.type === "image_generation_call");
  const ask = async (text) => {
    const { message } = (await client.chat.completions.create({ model, messages: said(text) })).choices[0];
    return found(message.content, message.images.length, message.audio);
  };
  return {
    text: () => ask(TEXT), image: () => ask(IMAGE), audio: () => ask(AUDIO),
    stream: async () => {
      const { message } = (await client.chat.completions.stream({ model, messages: said(IMAGE) }).finalChatCompletion()).choices[0];
      return found(message.content, message.images?.length);
    },
    responses: async () => {
      const made = await client.responses.create({ model, input: IMAGE });
      return found(made.output_text, drawn(made.output));
    },
    "responses stream": async () => {
      const made = await client.responses.stream({ model, input: IMAGE }).finalResponse();
      return found(made.output_text ?? made.output[0].content[0].text, drawn(made.output));
    },
    media: async () => {
      const image = Buffer.from((await client.images.generate({ model, prompt: "x" })).data[0].b64_json, "base64");
      const file = new File([image], "a.png", { type: "image/png" });
      const edited = await client.images.edit({ model, image: file, prompt: "blue" });
      const speech = await (await client.audio.speech.create({ model, voice: "alloy", input: "x" })).arrayBuffer();
      return found("", edited.data[0].b64_json, speech.byteLength);
    },
  };
}

function aiSdk(chat, images, speech) {
  const asked = { model: chat, maxRetries: 0 };
  const ask = async (prompt) => {
    const made = await generateText({ ...asked, prompt });
    return found(made.text, made.files.length || made.toolResults.length);
  };
  return {
    text: () => ask(TEXT), image: () => ask(IMAGE), audio: () => ask(AUDIO),
    stream: async () => {
      let text = "", failed = null;
      for await (const piece of streamText({ ...asked, prompt: TEXT, onError: ({ error }) => { failed = error; } }).textStream) text += piece;
      if (failed) throw failed;
      return found(text);
    },
    turns: async () => {
      const first = await generateText({ ...asked, messages: said(IMAGE) });
      return found((await generateText({ ...asked, messages: [...said(IMAGE), ...first.response.messages, ...said(TEXT)] })).text);
    },
    media: async () => {
      const drawn = await generateImage({ model: images, prompt: "x", maxRetries: 0 });
      const spoken = speech && (await generateSpeech({ model: speech, text: "x", maxRetries: 0 })).audio.uint8Array.length;
      return found("", drawn.images.length, spoken);
    },
  };
}

async function tried(cell) {
  try { return await cell(); } catch (error) { return { error: `${error.name}: ${error.message}`.slice(0, 300) }; }
}

const openai = createOpenAI({ baseURL: base, apiKey: "x" }), compatible = createOpenAICompatible({ name: "codi2", baseURL: base });
const clients = {
  openai_node: openaiNode(),
  "@ai-sdk/openai": aiSdk(openai(model), openai.image(model), openai.speech(model)),
  "@ai-sdk/openai chat": aiSdk(openai.chat(model), openai.image(model), openai.speech(model)),
  "@ai-sdk/openai-compatible": aiSdk(compatible(model), compatible.imageModel(model), null),
};
const table = {};
for (const [name, cells] of Object.entries(clients)) {
  table[name] = {};
  for (const [cell, run] of Object.entries(cells)) table[name][cell] = await tried(run);
}
console.log("\n" + JSON.stringify(table));
