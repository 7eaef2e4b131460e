// Errors, shown where one looks, wherever one has scrolled.

import { Refused } from "./api.js";
import { $, h } from "./dom.js";
import { plain } from "./words.js";

const SECONDS = 12;

export function toast(text) {
  const close = h("button", { type: "button", "aria-label": "Close this message", onclick: () => note.remove() }, "×");
  const note = h("p", {}, text, close);
  $("toasts").append(note);
  setTimeout(() => note.remove(), 1000 * SECONDS);
}

// Run `work`; whatever goes wrong is said in a toast. Returns whether it went well.
export async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") toast(said(error));
    return false;
  }
}

function said(error) {
  if (error instanceof Refused) return plain(error.message);
  return error instanceof TypeError ? "The service does not answer; is it still running?" : error.message;
}
