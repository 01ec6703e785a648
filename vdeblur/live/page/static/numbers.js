// What is measured while it runs: delay from camera to screen, pictures a second, pictures left out.

import { byId, median, write } from "./dom.js";

const WINDOW_MS = 2000;
const SHOW_MS = 500;

export class Numbers {
  #drawn = [];
  #status = null;

  constructor() {
    setInterval(() => this.#show(), SHOW_MS);
  }

  /** A picture was drawn, so many milliseconds after it was taken. */
  drew(delayMs) {
    this.#drawn.push({ at: performance.now(), delayMs });
  }

  status(status) {
    this.#status = status;
  }

  /** No pictures come for now: only what was counted so far stays true. */
  still() {
    this.#drawn = [];
    if (this.#status) this.#status = { ...this.#status, delay_ms: null, width: 0 };
    this.#show();
  }

  clear() {
    this.#drawn = [];
    this.#status = null;
    this.#show();
  }

  /** Median delay and pictures a second of the last two seconds, for people and tests. */
  summary() {
    const since = performance.now() - WINDOW_MS;
    this.#drawn = this.#drawn.filter(({ at }) => at >= since);
    const count = this.#drawn.length;
    const seconds = count > 1 ? (this.#drawn[count - 1].at - this.#drawn[0].at) / 1000 : 0;
    return { delayMs: median(this.#drawn.map(({ delayMs }) => delayMs)), fps: seconds > 0 ? (count - 1) / seconds : null };
  }

  #show() {
    const { delayMs, fps } = this.summary();
    const status = this.#status;
    write(byId("delay"), delayMs === null ? "–" : delayMs.toFixed(0));
    write(byId("fps"), fps === null ? "–" : fps.toFixed(1));
    write(byId("server-delay"), status?.delay_ms ? status.delay_ms.toFixed(0) : "–");
    write(byId("dropped"), status ? String(status.dropped + status.skipped) : "–");
    write(byId("size"), status?.width ? `${status.width}×${status.height}` : "–");
  }
}
