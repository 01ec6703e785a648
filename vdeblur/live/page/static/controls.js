// The settings: what the person chooses goes to the server, what the server says is shown.

import { byId, make, write } from "./dom.js";

const SIZES = { 1: "full", 2: "half", 3: "a third", 4: "a quarter" };
/** What was just chosen is not overwritten by a status that left the server before. */
const QUIET_MS = 1500;

export class Controls {
  #say;
  #changedAt = -Infinity;
  #models = byId("models");
  #reduce = byId("reduce");
  /** Controls of one option each: a range, a switch (0 or 1), or a choice of numbers and words. */
  #single = [...document.querySelectorAll("[data-option]")];

  constructor(say) {
    this.#say = say;
    for (const control of this.#single) {
      control.addEventListener("input", () => showNumber(control));
      control.addEventListener("change", () => this.#change({ [control.dataset.option]: valueOf(control) }));
    }
    this.#reduce.addEventListener("change", () => this.#change(this.#size()));
  }

  /** Show what there is to choose, and what the server begins with. */
  begin({ models, limits, ...values }) {
    if (!this.#models.childElementCount) {
      for (const control of this.#single) {
        if (control.type === "range") [control.min, control.max] = limits[control.dataset.option];
      }
      this.#models.append(...models.map((name) => {
        const radio = make("input", { type: "radio", name: "model", value: name });
        radio.addEventListener("change", () => this.#change({ model: name }));
        return make("label", {}, radio, make("span", { textContent: name }));
      }));
      this.#show(values);
    }
  }

  /** All that is chosen. */
  chosen() {
    const model = this.#models.querySelector(":checked")?.value;
    const single = Object.fromEntries(this.#single.map((control) => [control.dataset.option, valueOf(control)]));
    return { ...(model && { model }), ...single, ...this.#size() };
  }

  /** The server's word on its settings. */
  follow(status) {
    const automatic = this.#reduce.querySelector('[value="auto"]');
    write(automatic, status.auto && status.state === "running" ? `Automatic (now ${SIZES[status.reduce] ?? `1/${status.reduce}`})` : "Automatic");
    if (performance.now() - this.#changedAt > QUIET_MS) this.#show({ ...status, model: status.wanted_model });
    const running = status.state === "running";
    this.#tellRunning(running ? status : null);
    hint("pace", running ? status.message : "");
  }

  /** Nothing runs any more: what was said of it is no longer true. */
  still() {
    this.#tellRunning(null);
    hint("pace", "");
    write(this.#reduce.querySelector('[value="auto"]'), "Automatic");
  }

  /** Mark the model that works now, which may be a smaller one than was chosen; null: none works. */
  #tellRunning(status) {
    for (const radio of this.#models.querySelectorAll("input")) {
      const runs = radio.value === status?.model;
      radio.parentElement.classList.toggle("running", runs);
      if (runs) radio.setAttribute("aria-description", "running now");
      else radio.removeAttribute("aria-description");
    }
    hint("runs", status ? `Running: ${status.model}, ${SIZES[status.reduce] ?? `1/${status.reduce}`} size` : "");
  }

  #show({ model, reduce, auto, ...values }) {
    const radio = [...this.#models.querySelectorAll("input")].find(({ value }) => value === model);
    if (radio) radio.checked = true;
    for (const control of this.#single) {
      const value = values[control.dataset.option];
      if (control.type === "checkbox") control.checked = value === 1;
      else if (document.activeElement !== control) choose(control, String(value));
      showNumber(control);
    }
    this.#reduce.value = auto ? "auto" : String(reduce);
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

/** A line of its own, or none. */
function hint(id, words) {
  byId(id).hidden = !words;
  write(byId(id), words);
}

/** A number, or the words of a choice ("auto"). */
function valueOf(control) {
  const number = Number(control.type === "checkbox" ? control.checked : control.value);
  return Number.isNaN(number) ? control.value : number;
}

/** Show a value; a choice gets one that it lacks, which the server began with. */
function choose(control, value) {
  const missing = control.options && ![...control.options].some((option) => option.value === value);
  if (missing) control.append(make("option", { value, textContent: value }));
  control.value = value;
}

/** Show a range's number beside its label. */
function showNumber(control) {
  const output = document.querySelector(`output[for="${control.id}"]`);
  if (output) write(output, valueOf(control).toFixed(2));
}
