// Own normal images: how many are called odd as the model is, and how many once it is calibrated on them.

import { h } from "./dom.js";
import { PART, scores } from "./scoring.js";
import { state } from "./state.js";
import { attempt } from "./toast.js";
import { count, percent, some } from "./words.js";

const LEAST = 2; // halves, each of which must be able to raise an alarm in the other

// A part of the card of the detector `name`.
export function recalibration(name) {
  const said = h("p", { role: "status" });
  const input = h("input", { type: "file", multiple: true, accept: "image/*", onchange: () => attempt(() => judge(name, [...input.files], said)) });
  const about = `Are your normal images like those of the model? Choose some of them. They are only scored, at the limit of ${percent(state.alpha)}.`;
  return h("div", {}, h("h3", {}, "Your own normal images"), h("p", {}, about), h("label", {}, "Normal images ", input), said);
}

async function judge(name, files, said) {
  const results = [];
  while (results.length < files.length) {
    said.textContent = `Scored ${count(results.length)} of ${some(files.length, "image")}.`;
    results.push(...(await scores(files.slice(results.length, results.length + PART), { model: name, invert: state.invert })));
  }
  const read = results.filter((result) => result.error === undefined);
  const needed = LEAST * (Math.ceil(1 / state.alpha - 1e-9) - 1);
  said.replaceChildren(...verdict(name, read, files.length - read.length, needed));
}

function verdict(name, read, unread, needed) {
  const before = read.filter(({ p_value }) => p_value <= state.alpha).length;
  const begin = `${some(read.length, "normal image")}${unread ? `, ${count(unread)} unreadable` : ""}. As the model is, ${share(before, read.length)} called odd. `;
  if (read.length < needed) return [`${begin}To see what a calibration changes takes at least ${count(needed)}.`];
  const after = oddAfter(read.map(({ score }) => score), state.alpha);
  const command = `oddglyph calibrate FOLDER --model ${name} --name ${name}-own${state.invert ? " --invert" : ""}`;
  return [`${begin}Calibrated on one half, with the other half judged and the reverse, ${share(after, read.length)}. To make it last: `, h("code", {}, command)];
}

const share = (odd, all) => `${count(odd)} (${percent(all ? odd / all : 0)}) ${odd === 1 ? "is" : "are"}`;

// How many of `scores` are odd if every second one calibrates the others, and the reverse.
export function oddAfter(scores, alpha) {
  const halves = [0, 1].map((rest) => scores.filter((_, index) => index % 2 === rest));
  const odd = (judged, calibration) => judged.filter((score) => (1 + calibration.filter((each) => each >= score).length) / (calibration.length + 1) <= alpha).length;
  return odd(halves[0], halves[1]) + odd(halves[1], halves[0]);
}
