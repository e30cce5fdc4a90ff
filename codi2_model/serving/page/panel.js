// Settings, microphone and clipboard.
import { $, say } from "./dom.js";
import { recorder } from "./media.js";

const KEPT = ["seed", "steps", "guidance", "max_tokens", "temperature"];
const LONGEST = 60;                                     // seconds of a recording, the limit of the server

// The settings panel. Numbers are stored in this browser, the token only until the tab is closed.
export function settings(onToken) {
  const kept = JSON.parse(localStorage.getItem("settings") || "{}");
  for (const id of KEPT) {
    if (Number.isFinite(kept[id])) $(id).value = kept[id];
    $(id).addEventListener("change", () => {
      if (!$(id).value || !$(id).checkValidity()) $(id).value = $(id).defaultValue;
      const set = KEPT.filter((name) => $(name).value !== "");
      localStorage.setItem("settings", JSON.stringify(Object.fromEntries(set.map((name) => [name, +$(name).value]))));
    });
  }
  $("open-settings").addEventListener("click", () => {
    $("settings").hidden = !$("settings").hidden;
    $("open-settings").setAttribute("aria-expanded", String(!$("settings").hidden));
  });
  $("token").value = sessionStorage.getItem("token") || "";
  $("token").addEventListener("change", () => { sessionStorage.setItem("token", $("token").value); onToken(); });
}

// The record button: starts a recording, then stops it and adds it to the message.
export function recording(insert, complain) {
  let stop = null, clock = 0, busy = false;
  const show = (seconds) => { $("record").textContent = stop ? `Stop recording (${seconds} s)` : "Record"; };
  async function press() {
    if (busy) return;
    busy = true;
    try {
      if (!stop) {
        stop = await recorder();
        let seconds = 0;
        clock = setInterval(() => { show(++seconds); if (seconds >= LONGEST) press(); }, 1000);
        say("", "Recording");
      } else {
        const end = stop;
        stop = null;
        clearInterval(clock);
        insert(await end());
        say("", "The recording was added to the message");
      }
    } catch (error) { stop = null; clearInterval(clock); complain(new Error(`Recording failed: ${error.message}`)); }
    busy = false;
    show(0);
    $("record").setAttribute("aria-pressed", String(Boolean(stop)));
  }
  $("record").addEventListener("click", press);
}

// Copies text to the clipboard, or shows it in a dialog if the browser does not allow that.
export async function copier(words) {
  try { await navigator.clipboard.writeText(words); say("Copied"); } catch {
    const box = $("copied").querySelector("textarea");
    box.value = words;
    $("copied").showModal();
    box.select();
  }
}
