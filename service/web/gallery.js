// Many images: tiles in order of p-value, filters, a summary, and the results as CSV or JSON.

import { $, download, h } from "./dom.js";
import { progress, remove, score, stop } from "./scoring.js";
import { changed, state, verdictOf } from "./state.js";
import { count, percent, some } from "./words.js";

const KINDS = { all: "All", odd: "Odd", normal: "Normal", unread: "Unreadable", waiting: "Not scored" };
const COLUMNS = ["id", "model", "l_con", "latent", "density", "score", "p_value", "is_anomaly", "closest", "error"];
const tiles = new WeakMap(); // image -> its button

export function render() {
  const many = state.items.length > 1;
  $("batch").hidden = !many;
  renderProgress();
  if (!many) return;
  const counts = counted();
  if (state.filter !== "all" && !counts[state.filter]) state.filter = "all";
  $("summary").textContent = summary(counts);
  $("rest").hidden = !counts.waiting || progress.running();
  renderFilter(counts);
  renderTiles();
}

function counted() {
  const counts = { all: state.items.length, odd: 0, normal: 0, unread: 0, waiting: 0 };
  for (const item of state.items) counts[verdictOf(item).kind]++;
  return counts;
}

function summary({ all, odd, normal, unread, waiting }) {
  const judged = odd + normal;
  const begin = `${some(all, "image")}: ${count(odd)} odd, ${count(normal)} normal${unread ? `, ${count(unread)} unreadable` : ""}${waiting ? `, ${count(waiting)} not scored` : ""}.`;
  const expected = state.alpha * judged;
  const alarms = expected < 1 ? "less than one false alarm" : `at most about ${some(Math.round(expected), "false alarm")}`;
  return judged ? `${begin} If all were normal, expect ${alarms} at ${percent(state.alpha)}.` : begin;
}

function renderProgress() {
  $("progress").hidden = !progress.running() || progress.total < 2;
  $("progress-text").textContent = `${count(progress.done)} of ${some(progress.total, "image")}`;
  Object.assign($("progress-bar"), { max: Math.max(1, progress.total), value: progress.done });
}

function renderFilter(counts) {
  const shown = Object.keys(KINDS).filter((kind) => kind === "all" || counts[kind]);
  const labels = shown.map((kind) => {
    const input = h("input", { type: "radio", name: "filter", value: kind, onchange: () => { state.filter = kind; changed(); } });
    input.checked = kind === state.filter;
    return h("label", {}, input, `${KINDS[kind]} ${count(counts[kind])}`);
  });
  const focused = document.activeElement?.name === "filter";
  $("filter").replaceChildren($("filter").firstElementChild, ...labels);
  if (focused) $("filter").querySelector("input:checked").focus();
}

function renderTiles() {
  const focused = document.activeElement;
  const shown = state.items.filter((item) => state.filter === "all" || verdictOf(item).kind === state.filter).sort(byP);
  $("tiles").replaceChildren(...shown.map((item) => tileOf(item)));
  if (focused.isConnected && $("tiles").contains(focused)) focused.focus();
}

const rank = (item) => (item.result ? item.result.p_value : item.error ? 2 : 3);
const byP = (a, b) => rank(a) - rank(b);

function tileOf(item) {
  const tile = tiles.get(item) ?? makeTile(item);
  const { kind, word } = verdictOf(item);
  const figure = item.result ? `p ${item.result.p_value.toPrecision(2)}` : "";
  tile.className = kind;
  const [button] = tile.children;
  button.setAttribute("aria-pressed", item === state.selected);
  button.setAttribute("aria-label", `${item.id}: ${word} ${figure}`);
  button.querySelector(".word").textContent = `${word} ${figure}`;
  const image = button.querySelector("img");
  if (item.url && !item.error && image.getAttribute("src") !== item.url) image.src = item.url;
  image.hidden = !item.url || Boolean(item.error);
  return tile;
}

function makeTile(item) {
  const image = h("img", { alt: "", loading: "lazy" });
  const open = () => { state.selected = item; changed(); $("detail").scrollIntoView({ block: "nearest" }); };
  const button = h("button", { type: "button", onclick: open, onkeydown: (event) => event.key === "Delete" && remove([item]) });
  button.append(image, h("span", { class: "id" }, item.id), h("span", { class: "word" }));
  const tile = h("li", {}, button, h("button", { type: "button", class: "cross", "aria-label": `Remove ${item.id}`, onclick: () => remove([item]) }, "×"));
  tiles.set(item, tile);
  return tile;
}

// One row an image, in the order of the tiles, with the verdict at the limit that the page shows.
function rows() {
  return [...state.items].sort(byP).map((item) => ({
    ...item.result, id: item.id, model: item.model,
    is_anomaly: item.result ? item.result.p_value <= state.alpha : undefined,
    error: item.error ?? undefined,
  }));
}

// A cell that a spreadsheet takes for text and not for a formula.
function cell(value) {
  const text = String(value ?? "");
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csv() {
  const lines = [COLUMNS, ...rows().map((row) => COLUMNS.map((column) => row[column]))];
  return lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function install() {
  $("cancel").addEventListener("click", stop);
  $("rest").addEventListener("click", () => score(state.items.filter((item) => verdictOf(item).kind === "waiting")));
  $("clear-all").addEventListener("click", () => { stop(); remove([...state.items]); });
  $("csv").addEventListener("click", () => download("scores.csv", new Blob([csv()], { type: "text/csv" })));
  $("json").addEventListener("click", () => download("scores.json", new Blob([JSON.stringify({ alpha: state.alpha, results: rows() }, null, 2)], { type: "application/json" })));
}
