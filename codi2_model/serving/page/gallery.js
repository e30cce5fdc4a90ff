// Templates of the model's tasks, with examples drawn and sounded right here, ready to be sent or changed.
import { $, button, element } from "./dom.js";
import { drawing, tone } from "./media.js";

const text = (words) => ({ type: "text", text: words });
const disc = (colour) => drawing((pen, s) => { pen.fillStyle = colour; pen.beginPath(); pen.arc(s / 2, s / 2, s / 3, 0, 7); pen.fill(); });
const square = (colour) => drawing((pen, s) => { pen.fillStyle = colour; pen.fillRect(s / 4, s / 4, s / 2, s / 2); });
const house = () => drawing((pen, s) => {
  pen.fillStyle = "#c96"; pen.fillRect(s / 4, s / 2, s / 2, s / 3);
  pen.fillStyle = "#a33"; pen.beginPath(); pen.moveTo(s / 5, s / 2); pen.lineTo(s / 2, s / 5); pen.lineTo(s * 0.8, s / 2); pen.fill();
});

export const TEMPLATES = [
  ["Draw", "a picture of words", ["image"], () => [text("Draw a red apple.")]],
  ["Sound", "a sound of words", ["audio"], () => [text("Make this sound: a drum.")]],
  ["Animate", "a clip of words", ["video"], () => [text("Show a ball that bounces.")]],
  ["Edit a picture", "keep it, change one thing", ["image"], () => [text("Make "), house(), text(" blue.")]],
  ["Edit a sound", "add to what is heard", ["audio"], () => [text("Add the sound of a drum to "), tone([440])]],
  ["By example", "one change shown, then applied", ["image"],
    () => [text("We apply a change to "), disc("#d33"), text(" and get "), disc("#36c"), text(". Apply the same to "), square("#d33")]],
  ["By two examples", "what do they have in common?", ["image"],
    () => [disc("#d33"), text(" becomes "), square("#d33"), text("; "), disc("#383"), text(" becomes "), square("#383"), text("; "), disc("#36c"), text(" becomes")]],
  ["Compose", "things of several pictures in one", ["image"], () => [text("Put "), disc("#d93"), text(" above "), house()]],
  ["A subject anew", "the same thing somewhere else", ["image"], () => [text("This is my house: "), house(), text(" Draw it at night.")]],
  ["What is it?", "words of a picture", ["text"], () => [text("What do you see in "), house(), text("?")]],
  ["What do you hear?", "words of a sound", ["text"], () => [text("What is this sound? "), tone([523, 659, 784])]],
  ["Picture to sound", "what would it sound like?", ["audio"], () => [text("What would this sound like? "), house()]],
  ["Sound to picture", "what makes it?", ["image"], () => [text("Draw what makes this sound: "), tone([200, 150, 100])]],
  ["Picture and sound", "both in one reply", ["text", "image", "audio"], () => [text("Draw a dog, and let it be heard.")]],
];

export function cards(box, choose) {
  box.replaceChildren(...TEMPLATES.map(([name, about, modalities, make]) => {
    const card = button("", () => choose(make(), modalities));
    card.append(element("b", { textContent: name }), element("span", { textContent: about }));
    return card;
  }));
}

export function openGallery(choose) {
  cards($("gallery").querySelector(".cards"), (content, modalities) => { $("gallery").close(); choose(content, modalities); });
  $("gallery").showModal();
}
