// The settings: what the person chooses goes to the server, what the server says is shown.

import { byId, make, write } from "./dom.js";

const SIZES = { 1: "full", 2: "half", 3: "a third", 4: "a quarter" };
/** What was just chosen is not overwritten by a status that left the server before. */
const QUIET_MS = 1500;

export class Controls {
  #say;
  #changedAt = -Infinity;
  #models = byId("models");
  #strength = byId("strength");
  #reduce = byId("reduce");
  #lookahead = byId("lookahead");

  constructor(say) {
    this.#say = say;
    this.#strength.addEventListener("input", () => this.#showStrength());
    this.#strength.addEventListener("change", () => this.#change({ strength: this.#strength.valueAsNumber }));
    this.#lookahead.addEventListener("change", () => this.#change({ lookahead: Number(this.#lookahead.checked) }));
    this.#reduce.addEventListener("change", () => this.#change(this.#size()));
  }

  /** Show what there is to choose, and what the server begins with. */
  begin({ models, model, strength, lookahead, reduce, auto }) {
    if (!this.#models.childElementCount) {
      this.#models.append(...models.map((name) => {
        const radio = make("input", { type: "radio", name: "model", value: name });
        radio.addEventListener("change", () => this.#change({ model: name }));
        return make("label", {}, radio, make("span", { textContent: name }));
      }));
      this.#show({ model, strength, lookahead, reduce, auto });
    }
  }

  /** All that is chosen. */
  chosen() {
    const model = this.#models.querySelector(":checked")?.value;
    return { ...(model && { model }), strength: this.#strength.valueAsNumber, lookahead: Number(this.#lookahead.checked), ...this.#size() };
  }

  /** The server's word on its settings. */
  follow(status) {
    const automatic = this.#reduce.querySelector('[value="auto"]');
    write(automatic, status.auto ? `Automatic (now ${SIZES[status.reduce] ?? `1/${status.reduce}`})` : "Automatic");
    if (performance.now() - this.#changedAt > QUIET_MS) this.#show({ ...status, model: status.wanted_model });
    const words = status.state === "running" ? status.message : "";
    byId("pace").hidden = !words;
    write(byId("pace"), words);
  }

  #show({ model, strength, lookahead, reduce, auto }) {
    const radio = [...this.#models.querySelectorAll("input")].find(({ value }) => value === model);
    if (radio) radio.checked = true;
    if (document.activeElement !== this.#strength) this.#strength.value = strength;
    this.#showStrength();
    this.#lookahead.checked = lookahead === 1;
    this.#reduce.value = auto ? "auto" : String(reduce);
  }

  #showStrength() {
    write(byId("strength-value"), this.#strength.valueAsNumber.toFixed(2));
  }

  #size() {
    const { value } = this.#reduce;
    return value === "auto" ? { auto: true, reduce: 1 } : { auto: false, reduce: Number(value) };
  }

  #change(fields) {
    this.#changedAt = performance.now();
    this.#say("change", fields);
  }
}
