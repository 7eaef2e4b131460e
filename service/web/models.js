// What is served: models in groups with a picture each, and a card of one model.

import { blob, once } from "./api.js";
import { choose, measured } from "./choices.js";
import { $, h, picture } from "./dom.js";
import { recalibration } from "./recalibrate.js";
import { state } from "./state.js";
import { onTab, open } from "./tabs.js";
import { attempt } from "./toast.js";
import { count, percent, some } from "./words.js";

const FIGURES = { "auroc.score": "AUROC of the score", "false_alarm_rate.alpha_0.05": "false alarms at 5 %", "detection_rate.alpha_0.05": "detected at 5 %", "false_alarm_rate.alpha_0.01": "false alarms at 1 %", "detection_rate.alpha_0.01": "detected at 1 %" };
let listed = false;

async function list() {
  if (listed) return;
  listed = true;
  const groups = state.models.filter((model) => model.members.length);
  const single = state.models.filter((model) => !model.members.length);
  const grouped = groups.map((group) => [group.name, [group, ...single.filter(({ name }) => group.members.includes(name))]]);
  const others = single.filter(({ name }) => !groups.some((group) => group.members.includes(name)));
  const rest = ["detector", "generator"].map((kind) => [`${kind}s`, others.filter((model) => model.kind === kind)]);
  $("model-list").replaceChildren(...[...grouped, ...rest].filter(([, of]) => of.length).map(([title, of]) => h("div", {}, h("h2", {}, title), h("ul", { class: "cards" }, ...of.map(tile)))));
}

function tile(model) {
  const image = h("img", { alt: "", hidden: true });
  attempt(async () => {
    image.src = await faceOf(model);
    image.hidden = false;
  });
  const about = model.kind === "generator" ? model.summary : model.normal_classes.join(", ");
  return h("li", {}, h("button", { type: "button", onclick: () => open(`models/${model.name}`) }, image, h("strong", {}, model.name), h("span", {}, about)));
}

async function faceOf(model) {
  if (model.kind === "generator") return URL.createObjectURL(await blob(`sample?model=${model.name}&n=4&seed=7`));
  const { images } = await once(`models/${model.members[0] ?? model.name}/normal`);
  return images.length ? picture(images[0].png) : "web/icon.svg";
}

// --- the card ---

async function showCard(name) {
  const model = await once(`models/${name}`);
  const parts = [h("p", {}, h("a", { href: "#models" }, "← all models")), h("h2", {}, model.name), h("p", {}, `${model.summary}.`)];
  if (model.kind === "detector") parts.push(h("button", { type: "button", onclick: () => { open("score"); attempt(() => choose(name)); } }, "Score images with it"));
  parts.push(...(model.members.length ? [members(model)] : [...sections(model), model.kind === "detector" ? recalibration(name) : null, await gallery(model), provenance(model)]));
  parts.push(h("p", { class: "foot" }, h("a", { href: `models/${name}` }, `GET /models/${name}`)));
  $("card").replaceChildren(...parts.filter(Boolean));
}

function sections(model) {
  const { guarantee } = model;
  if (!guarantee) return [h("h3", {}, "Quality"), table(model.metrics)];
  const groups = guarantee.groups ? ` in ${count(guarantee.groups)} groups` : "";
  return [
    h("h3", {}, "What is normal"), h("p", {}, `${model.normal_classes.length > 1 ? "Classes" : "Class"} ${model.normal_classes.join(", ")}. Everything else is odd. Images are read in grey, ${model.image_size} pixels a side, light on black.`),
    h("h3", {}, "What a p-value promises"), h("p", {}, `Calibrated on ${some(guarantee.images, "normal image")}${groups} (${guarantee.method}). ${guarantee.statement}`),
    h("h3", {}, "Quality"), table(model.metrics.filter(({ name }) => name in FIGURES)),
    h("h3", {}, "Limits"), h("ul", {}, ...limits(model).map((text) => h("li", {}, text))),
    h("h3", {}, "Drift"), h("p", {}, "Whether a day’s images as a whole are still like the calibration images: ", h("code", {}, `oddglyph score FOLDER --model ${model.name} --drift`)),
  ];
}

function limits({ smallest_p_value, metrics }) {
  const alarms = metrics.filter(({ name }) => name.startsWith("false_alarm_rate.alpha_")).map((metric) => ({ ...metric, alpha: Number(metric.name.split("alpha_")[1]) }));
  const above = alarms.filter(({ value, deviation, alpha }) => value - 1.96 * deviation > alpha);
  return [
    `No p-value is below ${smallest_p_value.toPrecision(2)}, so no limit below ${percent(smallest_p_value)} raises an alarm.`,
    ...above.map((metric) => `More false alarms than asked for on test images. ${measured(metric)}`),
    "P-values hold for images like the calibration images: the same camera, pen and preparation. For others, calibrate anew.",
  ];
}

function table(metrics) {
  const rows = metrics.map(({ name, value, deviation, samples, split }) => h("tr", {}, h("th", { scope: "row" }, FIGURES[name] ?? name), h("td", {}, `${value.toPrecision(4)} ± ${deviation.toPrecision(2)}`), h("td", {}, count(samples)), h("td", {}, split)));
  const head = h("tr", {}, ...["figure", "value", "images", "of"].map((title) => h("th", { scope: "col" }, title)));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Measured figures" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
}

async function gallery({ name, pictures }) {
  const shown = await Promise.all(pictures.map(async (file) => h("figure", {}, h("img", { src: URL.createObjectURL(await blob(`models/${name}/pictures/${file}`)), alt: file }), h("figcaption", {}, file.replace(".png", "")))));
  return h("div", { class: "pictures" }, ...shown);
}

function provenance({ provenance: origin, recipe }) {
  if (!origin) return null;
  const facts = { created: origin.created.slice(0, 10), recipe: recipe?.name, data: `${origin.data}, sha256 ${origin.data_sha256.slice(0, 12)}`, command: origin.command, commit: origin.commit.slice(0, 12), seed: origin.seed, device: origin.device, "minutes of training": (origin.train_seconds / 60).toFixed(1) };
  return h("details", {}, h("summary", {}, "Provenance"), h("dl", {}, ...Object.entries(facts).filter(([, value]) => value !== undefined).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])));
}

function members(model) {
  const links = model.members.map((name) => h("li", {}, h("a", { href: `#models/${name}` }, name)));
  return h("div", {}, h("h3", {}, "Its detectors"), h("ul", {}, ...links));
}

export function install() {
  onTab((name, chosen) => {
    if (name !== "models") return;
    const known = state.models.some((model) => model.name === chosen);
    $("model-list").hidden = known;
    $("card").hidden = !known;
    attempt(() => (known ? showCard(chosen) : list()));
  });
}
