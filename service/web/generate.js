// Generated images, each with its class, and walks from one seed to another.

import { blob, json } from "./api.js";
import { $, download, h, picture } from "./dom.js";
import { options } from "./choices.js";
import { state } from "./state.js";
import { attempt } from "./toast.js";
import { some } from "./words.js";

const STEPS = 32; // images of a walk
const FRAMES_PER_SECOND = 8;
const still = matchMedia("(prefers-reduced-motion: reduce)");
let timer = null;

async function generate(event) {
  event.preventDefault();
  const fields = Object.fromEntries(new FormData($("sampling")));
  const walk = event.submitter?.value === "walk";
  const wanted = walk ? { start: fields.seed, end: fields.end, steps: STEPS } : { n: fields.n, seed: fields.seed };
  const query = new URLSearchParams({ model: fields.model, ...(fields.class && { class: fields.class }), ...wanted });
  const path = `${walk ? "sample/walk" : "sample"}?${query}`;
  const { results } = await json(`${path}&format=json`);
  clearInterval(timer);
  const shown = walk ? film(results, fields) : sheet(results);
  $("generated").replaceChildren(shown, foot(path, walk ? "walk.png" : "images.png"));
}

function sheet(results) {
  const figures = results.map(({ id, png, class: name }) => {
    const label = name ?? `image ${id}`;
    return h("figure", {}, h("img", { src: picture(png), alt: `Generated: ${label}` }), h("figcaption", {}, label));
  });
  return h("div", { class: `sheet ${results.length > 64 ? "dense" : ""}` }, ...figures);
}

function film(results, { seed, end }) {
  const image = h("img", { src: picture(results[0].png), alt: `Walk from seed ${seed} to ${end}` });
  const show = (index) => { slider.value = index; image.src = picture(results[index].png); };
  const slider = h("input", { type: "range", min: 0, max: results.length - 1, value: 0, "aria-label": "Place on the walk", oninput: () => { stop(); show(slider.value); } });
  const play = h("button", { type: "button", onclick: () => (timer ? stop() : start()) }, "Play");
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const start = () => {
    let at = Number(slider.value);
    play.textContent = "Pause";
    timer = setInterval(() => show(mirrored(++at, results.length)), 1000 / FRAMES_PER_SECOND);
  };
  timer = null;
  if (!still.matches) start();
  return h("div", { class: "film" }, image, h("div", { class: "row" }, h("span", {}, `seed ${seed}`), slider, h("span", {}, `seed ${end}`), play));
}

// 0, 1, ..., last, last - 1, ..., 1, 0, 1, ...
const mirrored = (at, length) => Math.abs(((at + length - 1) % (2 * length - 2)) - length + 1);

function foot(path, name) {
  const save = h("button", { type: "button", onclick: () => attempt(async () => download(name, await blob(path))) }, "Download PNG");
  return h("p", { class: "foot" }, save, " ", h("a", { href: path }, `GET /${path}`));
}

function describe() {
  const model = state.models.find(({ name }) => name === $("generator").value);
  $("generator-about").textContent = `${model.summary}. ${model.class_names.length ? `${some(model.class_names.length, "class").replace("classs", "classes")}.` : "No classes."}`;
  $("class").replaceChildren(new Option("all in turn", ""), ...model.class_names.map((name) => new Option(name, name)));
  $("class").disabled = !model.class_names.length;
}

export function install() {
  const generators = state.models.filter((model) => model.kind === "generator");
  $("tab-generate").hidden = !generators.length;
  if (!generators.length) return;
  $("generator").append(...options(generators));
  $("generator").value = (generators.find((model) => model.is_default) ?? generators[0]).name;
  $("generator").addEventListener("change", describe);
  describe();
  $("sampling").addEventListener("submit", (event) => { event.preventDefault(); attempt(() => generate(event)); });
  $("dice").addEventListener("click", () => {
    for (const field of ["seed", "end"]) $("sampling").elements[field].value = crypto.getRandomValues(new Uint32Array(1))[0] % 1e6;
  });
}
