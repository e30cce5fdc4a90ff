// The message editor: one editable field with text and inline media.
import { $, button, element, kindOf, NAMES, source } from "./dom.js";
import { partOf } from "./media.js";

const parts = new Map();
let number = 0, complain = () => {};
const field = $("text");

function chip(part) {
  const id = `medium-${++number}`, kind = kindOf(part), label = part.label || NAMES[kind];
  parts.set(id, part);
  const node = element("span", { className: "chip", contentEditable: "false", title: label });
  node.dataset.part = id;
  node.setAttribute("role", "group");
  node.setAttribute("aria-label", `${NAMES[kind]}: ${label}`);
  if (kind === "image") node.append(element("img", { src: source(part), alt: "" }));
  else if (kind === "video") node.append(element("video", { src: source(part), muted: true }));
  else node.append("♪");
  const remove = button("×", () => { node.remove(); field.focus(); }, { ariaLabel: `Remove ${label}` });
  node.append(element("i", { textContent: label }), remove);
  return node;
}

function caret() {                                     // where to insert: the selection in the field, else the end
  const selection = getSelection();
  if (selection.rangeCount && field.contains(selection.anchorNode)) return selection.getRangeAt(0);
  const range = document.createRange();
  range.selectNodeContents(field);
  range.collapse(false);
  return range;
}

export function insert(part, range = caret()) {
  const node = chip(part);
  range.deleteContents();
  range.insertNode(node);
  const after = document.createTextNode("\u200b");     // lets the caret stand after a medium
  node.after(after);
  const next = document.createRange();
  next.setStart(after, 1);
  getSelection().removeAllRanges();
  getSelection().addRange(next);
  return next;
}

export async function attach(files, range = caret()) {
  for (const file of files)
    try { range = insert(await partOf(file), range); } catch (error) { complain(error); }
  field.focus();
}

export function content() {                            // the content of the field as parts, in order
  const found = [];
  const text = (words) => {
    const plain = words.replaceAll("\u200b", "");
    if (!plain) return;
    if (found.at(-1)?.type === "text") found.at(-1).text += plain;
    else found.push({ type: "text", text: plain });
  };
  const walk = (node) => {
    for (const child of node.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) text(child.data);
      else if (child.dataset?.part) found.push(parts.get(child.dataset.part));
      else if (child.tagName === "BR") text("\n");
      else {
        if (["DIV", "P"].includes(child.tagName) && found.length) text("\n");
        walk(child);
      }
    }
  };
  walk(field);
  if (found.length && found[0].type === "text") found[0].text = found[0].text.trimStart();
  if (found.at(-1)?.type === "text") found.at(-1).text = found.at(-1).text.trimEnd();
  return found.filter((part) => part.type !== "text" || part.text);
}

export function clear() {
  field.replaceChildren();
  parts.clear();
}

export function fill(content) {
  clear();
  for (const part of content)
    field.append(...(part.type === "text" ? [document.createTextNode(part.text)] : [chip(part), document.createTextNode("\u200b")]));
  field.focus();
  getSelection().selectAllChildren(field);
  getSelection().collapseToEnd();
}

export function start(send, onError) {
  complain = onError;
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  field.addEventListener("beforeinput", (event) => { if (event.inputType.startsWith("format")) event.preventDefault(); });
  field.addEventListener("input", () => { if (field.innerHTML === "<br>") field.replaceChildren(); });
  field.addEventListener("paste", (event) => {
    event.preventDefault();
    if (event.clipboardData.files.length) attach([...event.clipboardData.files]);
    else document.execCommand("insertText", false, event.clipboardData.getData("text/plain"));
  });
  for (const name of ["dragover", "dragleave", "drop"])
    $("box").addEventListener(name, (event) => {
      event.preventDefault();
      $("box").classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length)
        attach([...event.dataTransfer.files], rangeAt(event.clientX, event.clientY));
    });
  $("file").addEventListener("change", async (event) => { await attach([...event.target.files]); event.target.value = ""; });
}

function rangeAt(x, y) {
  const place = document.caretPositionFromPoint?.(x, y);
  if (!place || !field.contains(place.offsetNode)) return caret();
  const range = document.createRange();
  range.setStart(place.offsetNode, place.offset);
  return range;
}
