// Figures and refusals in a person's words.

export const count = (number) => number.toLocaleString("en");
export const some = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
export const percent = (share) => `${Number((100 * share).toPrecision(2))} %`;

// p = (1 + count) / (size + 1), so the count can be computed exactly.
export function sentence(result, size) {
  const at = Math.round(result.p_value * (size + 1)) - 1;
  const [begin, none] = result.closest === undefined ? ["", "None"] : [`Closest to ${result.closest}: `, "none"];
  return `${begin}${at ? count(at) : none} of ${count(size)} normal images ${at > 1 ? "look" : "looks"} ${at ? "at least " : ""}this odd.`;
}

// What a p-value means for this limit.
export function meaning(p, alpha) {
  const rare = p <= 0.5 ? `About 1 normal image in ${count(Math.floor(1 / p))}, or fewer, would look this odd. ` : "";
  const limit = p <= alpha ? "is not above" : "is above";
  return `${rare}p = ${p.toPrecision(2)} ${limit} your limit of ${percent(alpha)}, so the image is called ${p <= alpha ? "odd" : "normal"}.`;
}

// "image: expected PNG, JPEG, got an empty file; convert it first" -> "Got an empty file, expected PNG, JPEG. Convert it first."
export function plain(refusal) {
  const [, expected, got, advice] = refusal.match(/expected (.*?), got (.*); (.*)$/) ?? [];
  if (got === undefined) return capital(refusal.replace(/^[^:]*\bimages?: /, "")).replace(/\.?$/, ".");
  return `This is ${got}; ${expected} can be read. ${capital(advice)}.`;
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
