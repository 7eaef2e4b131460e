// The choice of model and limit on the Score tab, and what was measured of them.

import { once } from "./api.js";
import { $, h } from "./dom.js";
import { rescore } from "./scoring.js";
import { changed, modelNamed, state } from "./state.js";
import { attempt } from "./toast.js";
import { count, percent, some } from "./words.js";

const STEP = 0.01; // of log10 of the limit

export function options(models) {
  const group = (label, of) => h("optgroup", { label }, ...of.map(({ name }) => new Option(name, name)));
  const groups = models.filter((model) => model.members.length);
  const kinds = new Map();
  for (const model of models.filter((each) => !each.members.length)) {
    const of = groups.find((each) => each.members.includes(model.name));
    const label = of ? of.name.replace(/^all-/, "") : "others";
    kinds.set(label, [...(kinds.get(label) ?? []), model]);
  }
  return [...(groups.length ? [group("which class is it?", groups)] : []), ...[...kinds].map(([label, of]) => group(label, of))];
}

function chooseModel(name) {
  state.model = name;
  const model = modelNamed(name);
  $("model").value = name;
  $("model-about").textContent = model.members.length
    ? `Says which of ${model.normal_classes.join(", ")} an image looks like, if any.`
    : `Takes ${model.normal_classes.join(", ")} for normal. Compares with ${some(model.calibration_size, "normal image")}.`;
  const least = Math.ceil(Math.log10(model.smallest_p_value) / STEP - 1e-9) * STEP; // no image can have a smaller p-value
  $("alpha").min = least.toFixed(2);
  setAlpha(Math.max(state.alpha, 10 ** least));
}

function setAlpha(alpha) {
  state.alpha = alpha;
  $("alpha").valueAsNumber = Math.log10(alpha);
  $("alpha-text").textContent = percent(alpha);
  $("alpha").setAttribute("aria-valuetext", `${percent(alpha)} of normal images`);
  attempt(showMeasured);
  changed();
}

// The false alarms that were measured at the alpha next to the limit, with their 95 % interval.
async function showMeasured() {
  const name = state.model;
  const { metrics } = await once(`models/${name}`);
  if (state.model !== name) return;
  const found = metrics.flatMap((metric) => {
    const [, alpha] = metric.name.match(/^false_alarm_rate\.alpha_(.+)$/) ?? [];
    return alpha ? [{ ...metric, alpha: Number(alpha) }] : [];
  });
  const distance = ({ alpha }) => Math.abs(Math.log(alpha / state.alpha));
  $("measured").textContent = found.length ? measured(found.sort((a, b) => distance(a) - distance(b))[0]) : "";
}

export function measured({ alpha, value, deviation, samples }) {
  const [low, high] = [value - 1.96 * deviation, value + 1.96 * deviation].map((share) => percent(Math.max(0, share)));
  return `Measured at ${percent(alpha)}: ${percent(value)} of ${count(samples)} normal test images (95 % interval ${low} to ${high}).`;
}

export function install() {
  const detectors = state.models.filter((model) => model.kind === "detector");
  $("model").append(...options(detectors));
  if (!detectors.length) return;
  const known = detectors.some(({ name }) => name === state.model);
  chooseModel(known ? state.model : (detectors.find((model) => model.is_default) ?? detectors[0]).name);
  $("model").addEventListener("change", () => { chooseModel($("model").value); attempt(rescore); });
  $("alpha").addEventListener("input", () => setAlpha(10 ** $("alpha").valueAsNumber));
}

// Score with another model, as asked for on another tab.
export function choose(name) {
  chooseModel(name);
  return rescore();
}
