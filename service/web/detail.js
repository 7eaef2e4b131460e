// The chosen image: verdict, heat map over the image, where its score falls, what it is compared with, and the parts of the score.

import { once } from "./api.js";
import { $, decoded, h, picture, pixelsOf } from "./dom.js";
import { colourBar, overlay } from "./heat.js";
import { histogram } from "./histogram.js";
import { explain, remove } from "./scoring.js";
import { judgeOf, state, verdictOf } from "./state.js";
import { attempt } from "./toast.js";
import { meaning, plain, sentence } from "./words.js";

const PARTS = {
  p_value: "Share of normal images that are expected to look at least this odd.",
  score: "All parts together; higher is odder. Compare it with other scores of this model only.",
  density: "Distance from the nearest normal images, in standard deviations.",
  l_con: "Mean difference between the image and its reconstruction, as a share of the range from black to white.",
  latent: "Distance between the codes of the image and of its reconstruction, in standard deviations.",
};

let shown = {}; // the image, its answer and limit, so that nothing is drawn twice
let opacity = 0.7;

export function render() {
  const item = state.selected;
  const key = { item, result: item?.result, error: item?.error, alpha: state.alpha };
  if (Object.keys(key).every((name) => key[name] === shown[name])) return;
  const again = shown.item === item && shown.result === key.result; // only the limit moved: keep the pictures
  shown = key;
  beside(item);
  $("detail").hidden = !item;
  if (item) draw(item, again);
}

function draw(item, again) {
  const { kind } = verdictOf(item);
  $("detail").className = kind;
  const stage = again && $("detail").querySelector(".stage");
  const pictures = stage || h("div", { class: "stage" });
  $("detail").replaceChildren(pictures, h("div", { class: "verdict" }, ...verdict(item)));
  if (!item.result) pictures.replaceChildren(...(item.url && !item.error ? [h("img", { src: item.url, alt: item.id })] : []));
  else {
    if (!stage) attempt(() => drawStage(item, pictures));
    attempt(() => drawWhere(item));
  }
}

function verdict(item) {
  const { word } = verdictOf(item);
  const rest = item.result
    ? [h("p", { class: "sentence" }, sentence(item.result, judgeOf(item).calibration_size)), h("p", { class: "hint meaning" }, meaning(item.result.p_value, state.alpha)), classes(item), h("div", { class: "where" }), parts(item)]
    : [h("p", { class: "sentence" }, item.error ? plain(item.error) : "No answer yet.")];
  const title = item.model ? `${item.id} · ${item.model}` : item.id;
  return [h("p", { class: "name" }, title), h("h2", { class: "word" }, word), ...rest, h("button", { type: "button", class: "remove", onclick: () => remove([item]) }, "Remove this image")];
}

// The same verdict in short, beside the drawing area on a phone.
function beside(item) {
  $("beside").hidden = !item;
  if (!item) return;
  const { kind, word } = verdictOf(item);
  const p = item.result ? `p = ${item.result.p_value.toPrecision(2)}` : "";
  $("beside").className = kind;
  $("beside").replaceChildren(h("p", { class: "word" }, word), h("p", {}, p), h("p", { class: "hint" }, item.result ? sentence(item.result, judgeOf(item).calibration_size) : ""));
}

async function drawStage(item, stage) {
  const { input, reconstruction, png } = await explain(item);
  const heat = await overlay(png, item.result.p_value);
  heat.style.opacity = opacity;
  const slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: opacity, oninput: (event) => { opacity = heat.style.opacity = event.target.value; } });
  const over = h("div", { class: "over" }, h("img", { src: picture(input), alt: "The image as the model sees it" }), heat);
  stage.replaceChildren(
    h("figure", {}, over, h("figcaption", {}, item.result.p_value <= state.alpha ? "where it is odd" : "where it is least usual")),
    colourBar(),
    h("label", { class: "hint" }, "Heat map ", slider),
    ...(reconstruction ? [h("figure", { class: "small" }, h("img", { src: picture(reconstruction), alt: "The model’s reconstruction" }), h("figcaption", {}, "as the model redraws it"))] : []),
  );
}

async function drawWhere(item) {
  const where = $("detail").querySelector(".where");
  const judge = judgeOf(item);
  const [normal, { input }] = await Promise.all([once(`models/${judge.name}/normal`), explain(item)]);
  const compared = h("figure", { class: "compared" }, h("figcaption", {}, `Normal images of ${judge.name}, the most alike first`));
  compared.append(h("div", {}, ...(await byLikeness(input, normal.images)).map(({ png, p_value }) => h("img", { src: picture(png), alt: `A normal image, p = ${p_value.toPrecision(2)}` }))));
  if (where.isConnected) where.replaceChildren(histogram(normal.scores, item.result.score, state.alpha), ...(normal.images.length ? [compared] : []));
}

// Normal images in order of their mean difference from the image, pixel by pixel.
async function byLikeness(png, normal) {
  const [own, ...others] = await Promise.all([png, ...normal.map((each) => each.png)].map(async (each) => pixelsOf(await decoded(picture(each))).data));
  const far = others.map((other) => other.reduce((sum, value, index) => sum + Math.abs(value - own[index]), 0));
  return normal.map((each, index) => ({ ...each, far: far[index] })).sort((a, b) => a.far - b.far);
}

// Of a group: the p-value of each class.
function classes(item) {
  if (!item.result.p_values) return null;
  const rows = Object.entries(item.result.p_values).map(([name, p]) => {
    const meter = h("meter", { min: 0, max: 1, value: p, "aria-label": `p-value of ${name}` });
    return h("tr", { class: p <= state.alpha ? "odd" : "normal" }, h("th", { scope: "row" }, name), h("td", {}, meter), h("td", {}, p.toPrecision(2)));
  });
  return h("table", { class: "classes" }, h("caption", {}, "p-value as each class"), h("tbody", {}, ...rows));
}

function parts({ result }) {
  const rows = Object.entries(PARTS).filter(([name]) => result[name] !== undefined).flatMap(([name, about]) => [h("dt", {}, `${name} ${result[name].toPrecision(3)}`), h("dd", {}, about)]);
  return h("details", {}, h("summary", {}, "Parts of the score"), h("dl", {}, ...rows));
}
