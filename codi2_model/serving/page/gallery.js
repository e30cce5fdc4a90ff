// Templates of the model's tasks, in the words it was trained on, with ready examples from the open corpora.
import { button, element, $ } from "./dom.js";
import { fileAt } from "./media.js";

const EXAMPLES = "page/examples";

// group -> [task, name, what it does, what a reply may hold, message]; [name] in a message is an example
export const TEMPLATES = {
  "Make": [
    ["text_to_image", "Draw", "a picture of words", "image", "Draw a red apple in the Fluent 3D style."],
    ["text_to_audio", "Sound", "a sound of words", "audio", "Make this sound: drum roll."],
    ["text_to_video", "Animate", "a clip of words", "video", "Make a short video of this: dog face"],
    ["text_to_video", "Bring to life", "a clip of a picture", "video", "Bring this picture to life: [dog-3d]"],
    ["joint_image_audio", "Picture and sound", "both in one reply", "text,image,audio", "Generate the sound and the image for this: A bell."],
  ],
  "Change": [
    ["image_editing", "Edit a picture", "keep it, change its style", "image", "Turn [dog-noto] into Fluent 3D style."],
    ["audio_editing", "Edit a sound", "add to what is heard", "audio", "Add this sound to [piano]: drum roll."],
    ["audio_editing", "An effect", "the same sound, otherwise", "audio", "Play [crow] backwards."],
    ["multi_turn", "Step by step", "go on from what comes back", "image", "This is my picture: [duck-noto] Change the style to Fluent 3D."],
  ],
  "By example": [
    ["exemplar_learning", "By example", "one change shown, then applied", "image",
      "We apply a new concept to [apple-noto]. And got [apple-3d]. Apply the same concept to [rocket-noto]."],
    ["concept_learning", "A style anew", "learned from two pictures", "image",
      "Given the artistic style represented in [apple-3d] and [drum-3d], create a new artwork similar to it: sun"],
    ["subject_driven", "A subject anew", "the same thing, drawn otherwise", "image",
      "Given pictures of the same subject, [dog-3d] and [dog-noto], draw it in the Twemoji style."],
    ["text_icl", "Words by example", "a pattern of words, carried on", "text", "hot -> cold\nbig -> small\nday ->"],
  ],
  "Several at once": [
    ["composition", "Compose", "two things in one picture", "image", "[duck-3d] + [guitar-3d] = ?"],
    ["composition", "Place", "a thing on a scene", "image", "Put [sun-noto] on [house-noto], at the top right."],
    ["reasoning", "Odd one out", "which does not belong?", "image", "Which of these does not belong? [apple-noto] [green-apple-noto] [rocket-noto] [apple-3d]"],
  ],
  "Understand": [
    ["image_captioning", "What is it?", "words of a picture", "text", "What does this picture show? [rocket-3d]"],
    ["visual_question_answering", "Ask", "a question about pictures", "text", "Do [duck-3d] and [duck-noto] show the same thing?"],
    ["audio_captioning", "What do you hear?", "words of a sound", "text", "What do you hear? [piano]"],
    ["video_captioning", "What happens?", "words of a clip", "text", "What does this video show? [dog-moving]"],
    ["text_instruction", "In words", "a plain question", "text", "What does 'orchard' mean?"],
  ],
  "Across the senses": [
    ["image_to_audio", "Picture to sound", "what does it sound like?", "audio", "What does this sound like? [bell-3d]"],
    ["audio_to_image", "Sound to picture", "what makes it?", "image", "What makes this sound? Draw it. [bell]"],
    ["text_to_media", "Words to pictures", "a text with pictures in it", "text,image", "Put a picture in the place of duck: The duck swims on the lake."],
  ],
};

let table = null;                                       // of the examples, asked for once
const examples = () => (table ||= fetch(`${EXAMPLES}/examples.json`).then((answer) => answer.json())
  .then((rows) => new Map(rows.map((row) => [row.name, row]))));

const pieces = (message) => message.split(/\[([\w-]+)\]/);  // words, example, words, example, ...

async function parts(message) {
  const known = await examples();
  return Promise.all(pieces(message).map((piece, n) =>
    (n % 2 ? fileAt(`${EXAMPLES}/${known.get(piece).file}`, known.get(piece).caption) : { type: "text", text: piece })));
}

function thumbnail(example) {
  const about = `${example.caption}, by ${example.author}, ${example.licence}`;
  if (example.kind === "image") return element("img", { src: `${EXAMPLES}/${example.file}`, alt: "", title: about });
  return element("i", { textContent: example.kind === "audio" ? "♪" : "▶", title: about });
}

// Fills in what a template shows and owes: its pictures, and who made them.
async function illustrate(card, message) {
  const names = [...new Set(pieces(message).filter((_, n) => n % 2))];
  if (!names.length) { card.append(element("q", { textContent: message })); return; }
  const known = await examples(), used = names.map((name) => known.get(name));
  card.append(element("span", { className: "thumbnails", ariaHidden: "true" }, ...used.map(thumbnail)));
  const owed = new Set(used.map((example) => `${example.author}, ${example.licence}`));
  card.append(element("small", { textContent: [...owed].join("; ") }));
}

function card([task, name, about, modalities, message], choose, complain) {
  const node = button("", async () => {
    try { choose(await parts(message), modalities.split(",")); } catch (error) { complain(error); }
  });
  node.dataset.task = task;
  node.append(element("b", { textContent: name }), element("span", { textContent: about }));
  illustrate(node, message).catch(complain);
  return node;
}

export function firstCards(choose, complain) {          // one of each group, for an empty page
  return element("div", { className: "cards" }, ...Object.values(TEMPLATES).map((group) => card(group[0], choose, complain)));
}

export function openGallery(choose, complain) {
  const chosen = (content, modalities) => { $("gallery").close(); choose(content, modalities); };
  const groups = Object.entries(TEMPLATES).map(([title, group]) => element("section", {}, element("h3", { textContent: title }),
    element("div", { className: "cards" }, ...group.map((template) => card(template, chosen, complain)))));
  $("gallery").querySelector(".groups").replaceChildren(...groups);
  $("gallery").showModal();
}
