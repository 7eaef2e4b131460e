// What the page knows: models, choices and images. The choices are in the URL, so that a link shows the same page.

export const state = { models: [], model: null, alpha: 0.05, invert: false, crop: false, items: [], selected: null, filter: "all" };

const DEFAULT_ALPHA = 0.05;
const listeners = [];
let due = false;

export const onChange = (listener) => listeners.push(listener);

// Tell all parts of the page, once per frame at most.
export function changed() {
  if (due) return;
  due = true;
  queueMicrotask(() => {
    due = false;
    for (const listener of listeners) listener();
  });
}

export const modelNamed = (name) => state.models.find((model) => model.name === name);

// The detector that judged: for a group, the member of the closest class.
export function judgeOf(item) {
  const model = modelNamed(item.model);
  return item.result?.closest === undefined ? model : modelNamed(model.members[model.normal_classes.indexOf(item.result.closest)]);
}

// Odd, normal, unread, or waiting for an answer.
export function verdictOf(item) {
  if (item.error) return { kind: "unread", word: "Not read" };
  if (!item.result) return { kind: "waiting", word: "Not scored" };
  if (item.result.p_value <= state.alpha) return { kind: "odd", word: "Odd" };
  return { kind: "normal", word: item.result.closest ?? "Normal" };
}

export function readUrl() {
  const query = new URLSearchParams(location.search);
  const alpha = Number(query.get("alpha"));
  if (query.has("model")) state.model = query.get("model");
  if (alpha > 0 && alpha < 1) state.alpha = alpha;
  for (const name of ["invert", "crop"]) state[name] = query.get(name) === "1";
}

export function writeUrl() {
  const query = new URLSearchParams();
  if (state.model && !modelNamed(state.model)?.is_default) query.set("model", state.model);
  if (state.alpha !== DEFAULT_ALPHA) query.set("alpha", state.alpha.toPrecision(3));
  for (const name of ["invert", "crop"]) if (state[name]) query.set(name, "1");
  history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`);
}
