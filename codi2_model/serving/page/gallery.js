// Templates of the model's tasks, with the prompts of its training and example media from open corpora.
import { button, element, $ } from "./dom.js";
import { fileAt } from "./media.js";

const EXAMPLES = "page/examples";

// group -> [task, name, description, modalities of the reply, message]; [name] in a message is an example file
export const TEMPLATES = {
  "Generate": [
    ["text_to_image", "Text to image", "an image of a description", "image", "Draw a red apple in the Fluent 3D style."],
    ["text_to_audio", "Text to audio", "a sound of a description", "audio", "Make this sound: drum roll."],
    ["text_to_video", "Text to video", "a video of a description", "video", "Make a short video of this: dog face"],
    ["text_to_video", "Image to video", "a video of an image", "video", "Bring this picture to life: [dog-3d]"],
    ["joint_image_audio", "Image and audio", "both in one reply", "text,image,audio", "Generate the sound and the image for this: A bell."],
  ],
  "Edit": [
    ["image_editing", "Edit an image", "keep the subject, change the style", "image", "Turn [dog-noto] into Fluent 3D style."],
    ["audio_editing", "Edit audio", "add a sound", "audio", "Add this sound to [piano]: drum roll."],
    ["audio_editing", "Audio effect", "for example reversed", "audio", "Play [crow] backwards."],
    ["multi_turn", "Multi-turn", "several edits in a conversation", "image", "This is my picture: [duck-noto] Change the style to Fluent 3D."],
  ],
  "In-context learning": [
    ["exemplar_learning", "Edit by example", "apply the edit of an example pair", "image",
      "We apply a new concept to [apple-noto]. And got [apple-3d]. Apply the same concept to [rocket-noto]."],
    ["concept_learning", "Style", "a new image in the style of two others", "image",
      "Given the artistic style represented in [apple-3d] and [drum-3d], create a new artwork similar to it: sun"],
    ["subject_driven", "Subject", "the same subject in another style", "image",
      "Given pictures of the same subject, [dog-3d] and [dog-noto], draw it in the Twemoji style."],
    ["text_icl", "Text patterns", "continue a pattern", "text", "hot -> cold\nbig -> small\nday ->"],
  ],
  "Several inputs": [
    ["composition", "Compose", "two subjects in one image", "image", "[duck-3d] + [guitar-3d] = ?"],
    ["composition", "Place", "a subject in a scene", "image", "Put [sun-noto] on [house-noto], at the top right."],
    ["reasoning", "Odd one out", "find the image that does not belong", "image", "Which of these does not belong? [apple-noto] [green-apple-noto] [rocket-noto] [apple-3d]"],
  ],
  "Understand": [
    ["image_captioning", "Caption an image", "describe an image", "text", "What does this picture show? [rocket-3d]"],
    ["visual_question_answering", "Visual question", "ask about images", "text", "Do [duck-3d] and [duck-noto] show the same thing?"],
    ["audio_captioning", "Caption audio", "describe a sound", "text", "What do you hear? [piano]"],
    ["video_captioning", "Caption a video", "describe a video", "text", "What does this video show? [dog-moving]"],
    ["text_instruction", "Text question", "without media", "text", "What does 'orchard' mean?"],
  ],
  "Across modalities": [
    ["image_to_audio", "Image to audio", "the sound of an image", "audio", "What does this sound like? [bell-3d]"],
    ["audio_to_image", "Audio to image", "the source of a sound", "image", "What makes this sound? Draw it. [bell]"],
    ["text_to_media", "Interleaved text", "a text with images in it", "text,image", "Put a picture in the place of duck: The duck swims on the lake."],
  ],
};

let table = null;                                       // promise of the table of examples
const examples = () => (table ||= fetch(`${EXAMPLES}/examples.json`).then((response) => response.json())
  .then((rows) => new Map(rows.map((row) => [row.name, row]))));

const pieces = (message) => message.split(/\[([\w-]+)\]/);  // text, example, text, example, ...

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

// Adds the thumbnails of a template, with their authors and licences.
async function illustrate(card, message) {
  const names = [...new Set(pieces(message).filter((_, n) => n % 2))];
  if (!names.length) { card.append(element("q", { textContent: message })); return; }
  const known = await examples(), used = names.map((name) => known.get(name));
  card.append(element("span", { className: "thumbnails", ariaHidden: "true" }, ...used.map(thumbnail)));
  const credits = new Set(used.map((example) => `${example.author}, ${example.licence}`));
  card.append(element("small", { textContent: [...credits].join("; ") }));
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

export function firstCards(choose, complain) {          // the first template of each group, for an empty page
  return element("div", { className: "cards" }, ...Object.values(TEMPLATES).map((group) => card(group[0], choose, complain)));
}

export function openGallery(choose, complain) {
  const chosen = (content, modalities) => { $("gallery").close(); choose(content, modalities); };
  const groups = Object.entries(TEMPLATES).map(([title, group]) => element("section", {}, element("h3", { textContent: title }),
    element("div", { className: "cards" }, ...group.map((template) => card(template, chosen, complain)))));
  $("gallery").querySelector(".groups").replaceChildren(...groups);
  $("gallery").showModal();
}
