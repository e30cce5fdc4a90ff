// A conversation with branches: nodes with their parents, and the leaf of the current branch. Stored in IndexedDB.
export function fresh() {
  return { id: crypto.randomUUID?.() || String(Math.random()).slice(2), title: "", at: Date.now(), nodes: [], leaf: -1 };
}

export function add(tree, parent, role, content, asked) { // asked: the settings of the request
  tree.nodes.push({ parent, role, content, ...(asked ? { asked } : {}) });
  tree.leaf = tree.nodes.length - 1;
  if (!tree.title) tree.title = content.map((part) => part.text || `[${part.type.split("_")[0]}]`).join(" ").slice(0, 80);
  return tree.leaf;
}

export function path(tree, leaf = tree.leaf) {         // numbers of the nodes from the root to the leaf
  const found = [];
  for (let n = leaf; n >= 0; n = tree.nodes[n].parent) found.unshift(n);
  return found;
}

const plain = ({ label, ...part }) => part;               // labels are not part of the API

export const messages = (tree, leaf) => path(tree, leaf).map((n) => ({ role: tree.nodes[n].role, content: tree.nodes[n].content.map(plain) }));

export function siblings(tree, n) {
  const { parent, role } = tree.nodes[n];
  return tree.nodes.map((_, k) => k).filter((k) => tree.nodes[k].parent === parent && tree.nodes[k].role === role);
}

export function choose(tree, n) {                      // switch to the branch through n, to its last leaf
  let leaf = n;
  for (;;) {
    const next = tree.nodes.findLastIndex((node) => node.parent === leaf);
    if (next < 0) break;
    leaf = next;
  }
  tree.leaf = leaf;
}

// Parses an exported conversation. Throws if it is invalid.
export function imported(text) {
  const wrong = (why) => { throw new Error(`Not an exported conversation: ${why}`); };
  let found;
  try { found = JSON.parse(text); } catch { wrong("not JSON"); }
  const tree = { ...fresh(), title: String(found?.title || "").slice(0, 80) };
  if (!Array.isArray(found?.nodes)) wrong("no nodes");
  for (const [n, { parent, role, content, asked }] of found.nodes.entries()) {
    if (!Number.isInteger(parent) || parent < -1 || parent >= n) wrong(`node ${n} has an invalid parent`);
    if (!["user", "assistant"].includes(role) || !Array.isArray(content) || !content.every(isPart)) wrong(`node ${n} has an invalid role or content`);
    tree.nodes.push({ parent, role, content, ...(asked ? { asked } : {}) });
  }
  tree.leaf = Number.isInteger(found.leaf) && found.nodes[found.leaf] ? found.leaf : tree.nodes.length - 1;
  return tree;
}

function isPart(part) {
  if (part?.type === "text") return typeof part.text === "string";
  if (part?.type === "image_url" || part?.type === "video_url") return typeof part[part.type]?.url === "string";
  const sound = part?.input_audio || part?.audio;
  return ["input_audio", "audio"].includes(part?.type) && typeof sound?.data === "string";
}

function store(mode) {
  return new Promise((resolve, reject) => {
    const open = indexedDB.open("codi2", 1);
    open.onupgradeneeded = () => open.result.createObjectStore("conversations", { keyPath: "id" });
    open.onerror = () => reject(open.error);
    open.onsuccess = () => resolve(open.result.transaction("conversations", mode).objectStore("conversations"));
  });
}

async function ask(mode, act) {
  const request = act(await store(mode));
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export const keep = (tree) => ask("readwrite", (s) => s.put(JSON.parse(JSON.stringify({ ...tree, at: Date.now() }))));
export const kept = async () => (await ask("readonly", (s) => s.getAll())).sort((a, b) => b.at - a.at);
export const forget = (id) => ask("readwrite", (s) => s.delete(id));
