// Videos: sent to the server, restored there with progress, and fetched; recordings stand in the same list.

import { announce, byId, make, notice, write } from "./dom.js";

const POLL_MS = 700;
const MEMORY = "vdeblur-videos";

export class Files {
  #list = byId("items");
  #options;
  #limit = Infinity;

  /** @param options gives all that is chosen. */
  constructor(options) {
    this.#options = options;
    const input = byId("file");
    byId("choose").addEventListener("click", () => input.click());
    input.addEventListener("change", () => { this.#sendAll(input.files); input.value = ""; });
    this.#setUpDropping();
    for (const { id, name } of remembered()) this.#watch(new Item(this.#list, name), id);
  }

  set limit(bytes) {
    this.#limit = bytes;
    write(byId("limit"), `up to ${sizeWords(bytes)}; the result stays here for 30 minutes`);
  }

  /** A recording that is ready. */
  recorded(url, name) {
    const item = new Item(this.#list, name);
    item.state("done", "Recording");
    item.offer(url, name);
    notice("The recording is ready; it stands under Video file.");
    item.focus();
  }

  #setUpDropping() {
    const curtain = byId("curtain");
    const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      curtain.hidden = false;
    });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) curtain.hidden = true; });
    document.addEventListener("drop", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      curtain.hidden = true;
      this.#sendAll(event.dataTransfer.files);
    });
  }

  #sendAll(files) {
    for (const file of files) this.#send(file);
  }

  #send(file) {
    const item = new Item(this.#list, file.name);
    item.focus();
    announce(`${file.name} was added under Video file`);
    if (file.size > this.#limit) return item.state("failed", `This server takes at most ${sizeWords(this.#limit)}.`);
    // A file can wait: what keeps a live picture up with its source is not for it.
    const { lookahead, reduce, auto, ...options } = this.#options();
    const request = new XMLHttpRequest();
    request.open("POST", `videos?${new URLSearchParams(options)}`);
    request.setRequestHeader("X-Name", encodeURIComponent(file.name));
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => item.progress(loaded / total, `Sending, ${percent(loaded / total)}`);
    request.onload = () => {
      if (request.status !== 202) return item.state("failed", request.response?.message ?? "The server refused this video.");
      remember(request.response.id, file.name);
      return this.#watch(item, request.response.id);
    };
    request.onerror = () => item.state("failed", "The connection was lost while the video was sent.");
    request.onabort = () => item.remove();
    item.onCancel(() => request.abort());
    item.state("sending", "Sending");
    return request.send(file);
  }

  async #watch(item, id) {
    item.onCancel(() => { forget(id); item.remove(); fetch(`videos/${id}`, { method: "DELETE" }).catch(() => {}); });
    item.state("waiting", "Waiting for its turn");
    for (;;) {
      const job = await look(id);
      if (!item.isHere) return;
      if (job === null) { forget(id); item.state("failed", "This video is no longer on the server."); return; }
      if (job) {
        this.#show(item, job);
        if (["done", "failed", "cancelled"].includes(job.state)) return;
      }
      await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
    }
  }

  #show(item, job) {
    if (job.state === "working") {
      item.state("working", "");
      item.progress(job.done, workWords(job));
    } else if (job.state === "done") {
      item.state("done", `Ready, ${sizeWords(job.bytes)}`);
      item.offer(`files/${job.id}`, job.name);
      announce(`${job.name} is ready`);
    } else if (job.state !== "waiting") {
      item.state("failed", job.message || "Stopped");
      forget(job.id);
      announce(`${job.name}: ${job.message}`);
    }
  }
}

/** One entry of the list. */
class Item {
  #element;
  #words = make("p", { className: "item-words" });
  #bar = make("progress", { max: 1, value: 0, hidden: true });
  #buttons = make("div", { className: "item-buttons" });
  #cancel = make("button", { type: "button", className: "button small", textContent: "Remove" });

  constructor(list, name) {
    this.#bar.setAttribute("aria-label", `Progress of ${name}`);
    this.#cancel.setAttribute("aria-label", `Remove ${name}`);
    this.#cancel.addEventListener("click", () => this.remove());
    this.#buttons.append(this.#cancel);
    this.#element = make("li", { className: "item" }, make("p", { className: "item-name", textContent: name }), this.#words, this.#bar, this.#buttons);
    list.prepend(this.#element);
  }

  get isHere() {
    return this.#element.isConnected;
  }

  state(state, words) {
    this.#element.dataset.state = state;
    this.#bar.hidden = !["sending", "working", "waiting"].includes(state);
    if (words) write(this.#words, words);
    write(this.#cancel, ["sending", "working", "waiting"].includes(state) ? "Cancel" : "Remove");
  }

  progress(part, words) {
    if (part === null) this.#bar.removeAttribute("value");
    else this.#bar.value = part;
    write(this.#words, words);
  }

  offer(url, name) {
    const link = make("a", { className: "button small primary", href: url, download: name, textContent: "Download" });
    link.setAttribute("aria-label", `Download ${name}`);
    this.#buttons.prepend(link);
  }

  focus() {
    this.#element.scrollIntoView({ block: "nearest" });
  }

  onCancel(action) {
    this.#cancel.onclick = action;
  }

  remove() {
    this.#element.remove();
  }
}

/** A job as the server tells it; null if it is gone, undefined if the server does not answer. */
async function look(id) {
  try {
    const answer = await fetch(`videos/${id}`);
    return answer.ok ? await answer.json() : answer.status === 404 ? null : undefined;
  } catch {
    return undefined;
  }
}

function workWords({ done, fps, eta_seconds: eta }) {
  const words = [done === null ? "Restoring" : `Restoring, ${percent(done)}`];
  if (fps > 0) words.push(`${fps.toFixed(1)} fps`);
  if (eta !== null) words.push(`${clock(eta)} left`);
  return words.join(" · ");
}

const percent = (part) => `${Math.floor(100 * part)} %`;
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

function sizeWords(bytes) {
  const mib = bytes / 2 ** 20;
  if (mib >= 1024) return `${(mib / 1024).toFixed(mib % 1024 ? 1 : 0)} GiB`;
  return mib >= 1 ? `${mib.toFixed(mib < 10 ? 1 : 0)} MiB` : `${Math.ceil(bytes / 1024)} KiB`;
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(MEMORY)) ?? [];
  } catch {
    return [];
  }
}

const remember = (id, name) => sessionStorage.setItem(MEMORY, JSON.stringify([...remembered(), { id, name }]));
const forget = (id) => sessionStorage.setItem(MEMORY, JSON.stringify(remembered().filter((one) => one.id !== id)));
