// The scores of normal images as a histogram, with the limit and the mark of an image.

import { svg } from "./dom.js";
import { count, percent } from "./words.js";

const [WIDTH, HEIGHT, BINS, FOOT] = [480, 160, 40, 42];

// The score above which p <= alpha: as (1 + k) / (n + 1) <= alpha, the k + 1 highest normal score. Infinite if there is none.
export function limitOf(scores, alpha) {
  const k = Math.floor(alpha * (scores.length + 1) + 1e-9) - 1;
  return k < 0 ? Infinity : scores[scores.length - 1 - k] ?? -Infinity;
}

export function histogram(scores, score, alpha) {
  const [low, high] = [scores[0], Math.max(scores.at(-1), scores[0] + 1e-6)];
  const top = Math.max(high, Math.min(score, high + 0.35 * (high - low))); // a far image gets an arrow, not an empty chart
  const x = (value) => 10 + (Math.min(Math.max(value, low), top) - low) / (top - low) * (WIDTH - 20);
  const limit = limitOf(scores, alpha);
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": described(scores, score, limit, alpha), class: "histogram" });
  chart.append(...bars(scores, low, high, x, limit), ...axis(x, limit, alpha), ...markOf(x(score), score > top));
  return chart;
}

function bars(scores, low, high, x, limit) {
  const counts = new Array(BINS).fill(0);
  for (const each of scores) counts[Math.min(BINS - 1, Math.floor((each - low) / (high - low) * BINS))]++;
  const [most, width] = [Math.max(...counts), (x(high) - x(low)) / BINS];
  return counts.map((number, bin) => {
    const tall = Math.max(number ? 1 : 0, number / most * (HEIGHT - FOOT - 26));
    const odd = low + (bin + 0.5) / BINS * (high - low) > limit;
    return svg("rect", { x: x(low) + bin * width, y: HEIGHT - FOOT - tall, width: Math.max(width - 1, 1), height: tall, class: odd ? "odd" : "normal" });
  });
}

function axis(x, limit, alpha) {
  const base = HEIGHT - FOOT;
  const parts = [svg("line", { x1: 10, x2: WIDTH - 10, y1: base, y2: base, class: "axis" })];
  parts.push(text(10, HEIGHT - 4, "start", "looks usual"), text(WIDTH - 10, HEIGHT - 4, "end", "looks odd"));
  if (!Number.isFinite(limit)) return parts;
  const place = x(limit);
  parts.push(svg("line", { x1: place, x2: place, y1: 24, y2: base + 4, class: "limit" }));
  parts.push(text(place, base + 17, place > WIDTH - 80 ? "end" : "middle", `limit ${percent(alpha)}`));
  return parts;
}

function markOf(place, beyond) {
  const base = HEIGHT - FOOT;
  const label = beyond ? "this image →" : "this image";
  return [
    svg("line", { x1: place, x2: place, y1: 16, y2: base, class: "mark" }),
    svg("circle", { cx: place, cy: base, r: 5, class: "mark" }),
    text(place, 11, place > WIDTH - 70 ? "end" : place < 70 ? "start" : "middle", label),
  ];
}

function text(x, y, anchor, words) {
  return svg("text", { x, y, "text-anchor": anchor }, words);
}

function described(scores, score, limit, alpha) {
  const below = scores.filter((each) => each < score).length;
  const side = score > limit ? "above" : "not above";
  return `Histogram of the scores of ${count(scores.length)} normal images. ${count(below)} of them score lower than this image, which is ${side} the limit for ${percent(alpha)} false alarms.`;
}
