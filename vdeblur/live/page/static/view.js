// The view: raw and sharp of the very same frame, drawn on one canvas on both sides of the divider.

const MOST_RAW = 16;

export class View {
  #canvas;
  #context;
  #box;
  #split = 0.5;
  #raw = null;
  #sharp = null;
  /** Raw pictures of the browser's camera that wait for their sharp ones, with when they were taken. */
  #waiting = new Map();
  #drawn = -1;

  constructor(canvas, box) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#box = box;
  }

  /** Keep a raw picture of the browser's camera until its sharp one comes. */
  keep(number, picture, capturedMs) {
    this.#waiting.set(number, { picture, capturedMs });
    if (this.#waiting.size > MOST_RAW) this.#forget(this.#waiting.keys().next().value);
  }

  /** Draw a picture that has come; gives when its raw one was taken by the browser, null if the server took it. */
  async show({ number, raw, sharp }) {
    const kept = this.#waiting.get(number);
    this.#waiting.delete(number);  // it is ours now: nobody else may close it
    const [left, right] = await Promise.all([raw ? decoded(raw) : kept?.picture, decoded(sharp)]);
    if (number <= this.#drawn || !left) {
      left?.close();
      right.close();
      return undefined;
    }
    this.#drawn = number;
    for (const older of this.#waiting.keys()) if (older < number) this.#forget(older);
    this.#replace(left, right);
    return kept?.capturedMs ?? null;
  }

  set split(part) {
    this.#split = part;
    this.#draw();
  }

  get size() {
    return this.#sharp ? [this.#sharp.width, this.#sharp.height] : null;
  }

  /** Another source: what was drawn stays until its first picture comes. */
  reset() {
    for (const number of [...this.#waiting.keys()]) this.#forget(number);
    this.#drawn = -1;
  }

  #forget(number) {
    this.#waiting.get(number).picture.close();
    this.#waiting.delete(number);
  }

  #replace(raw, sharp) {
    this.#raw?.close();
    this.#sharp?.close();
    this.#raw = raw;
    this.#sharp = sharp;
    if (this.#canvas.width !== sharp.width || this.#canvas.height !== sharp.height) {
      this.#canvas.width = sharp.width;
      this.#canvas.height = sharp.height;
      this.#box.style.setProperty("--ratio", sharp.width / sharp.height);
    }
    this.#draw();
  }

  #draw() {
    if (!this.#sharp) return;
    const { width, height } = this.#canvas;
    const edge = Math.round(this.#split * width);
    if (edge > 0) this.#context.drawImage(this.#raw, 0, 0, edge, height, 0, 0, edge, height);
    if (edge < width) {
      this.#context.drawImage(this.#sharp, edge, 0, width - edge, height, edge, 0, width - edge, height);
    }
  }
}

function decoded(jpeg) {
  return createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
}
