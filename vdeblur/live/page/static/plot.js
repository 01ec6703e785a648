// Sharpness over time, before and after, as two lines.

import { byId, median, write } from "./dom.js";

const SECONDS = 30;
const WIDTH = 300;
const HEIGHT = 84;
/** The share of the gain is taken over so many of the last values. */
const RECENT = 12;

export class Plot {
  #points = [];
  #saidAt = 0;

  add({ sharpness_before: before, sharpness_after: after }) {
    if (before === null || after === null) return;
    const now = performance.now() / 1000;
    this.#points.push({ at: now, before, after });
    while (this.#points[0].at < now - SECONDS) this.#points.shift();
    this.#draw(now);
  }

  /** No pictures come for now: the curve stays, but nobody should take its last gain for today's. */
  still() {
    write(byId("gain"), "");
    byId("plot").setAttribute("aria-label", "Sharpness over the last 30 seconds: no picture now");
  }

  clear() {
    this.#points = [];
    for (const id of ["plot-raw", "plot-sharp"]) byId(id).removeAttribute("points");
    this.still();
  }

  #draw(now) {
    const most = 1.1 * Math.max(1, ...this.#points.map(({ before, after }) => Math.max(before, after)));
    const line = (key) => this.#points
      .map((point) => `${(WIDTH * (1 - (now - point.at) / SECONDS)).toFixed(1)},${(HEIGHT * (1 - point[key] / most)).toFixed(1)}`)
      .join(" ");
    byId("plot-raw").setAttribute("points", line("before"));
    byId("plot-sharp").setAttribute("points", line("after"));
    const percent = this.#percent();
    const gain = `${percent < 0 ? "−" : "+"}${Math.abs(percent)} %`;
    write(byId("gain"), gain);
    byId("gain").classList.toggle("none", percent <= 0);
    if (now - this.#saidAt > 5) {
      this.#saidAt = now;
      byId("plot").setAttribute("aria-label", `Sharpness over the last 30 seconds: sharp is ${gain} against raw`);
    }
  }

  #percent() {
    const shares = this.#points.slice(-RECENT).map(({ before, after }) => (before > 0 ? after / before - 1 : 0));
    return Math.round(100 * median(shares)) || 0;
  }
}
