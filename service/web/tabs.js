// Score, Generate, Models and API as tabs. The chosen one is the fragment of the URL, such as #generate or #models/mnist-0.

import { $ } from "./dom.js";

const NAMES = ["score", "generate", "models", "api"];
const listeners = [];

export const onTab = (listener) => listeners.push(listener); // called with the name and what follows its slash

export function open(hash) {
  history.replaceState(null, "", `${location.pathname}${location.search}#${hash}`);
  show();
}

function show() {
  const [wanted, rest] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const name = NAMES.includes(wanted) ? wanted : "score";
  for (const each of NAMES) {
    const tab = $(`tab-${each}`);
    tab.setAttribute("aria-selected", each === name);
    tab.tabIndex = each === name ? 0 : -1;
    $(each).hidden = each !== name;
  }
  for (const listener of listeners) listener(name, rest);
}

function go(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const at = NAMES.findIndex((name) => event.target.id === `tab-${name}`);
  const next = NAMES[(at + step + NAMES.length) % NAMES.length];
  open(next);
  $(`tab-${next}`).focus();
}

export function install() {
  for (const name of NAMES) {
    $(`tab-${name}`).addEventListener("click", () => open(name));
    $(`tab-${name}`).addEventListener("keydown", go);
  }
  addEventListener("hashchange", show);
  show();
}
