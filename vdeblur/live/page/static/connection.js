// The WebSocket to the server: pictures and messages; it comes back by itself when it is lost.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
const PING_MS = 2000;
const OUT_HEADER_BYTES = 12;
const IN_HEADER_BYTES = 16;
const SNAPSHOT = 3;

export class Connection extends EventTarget {
  #socket = null;
  #retry = FIRST_RETRY_MS;
  #pings = 0;
  /** Half of the way there and back, in milliseconds; the least that was seen of late. */
  halfTrip = 0;

  connect() {
    const address = new URL("live", location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.search = "";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { this.#retry = FIRST_RETRY_MS; this.#ping(); };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#hear(JSON.parse(data)) : this.#take(data));
    socket.onclose = () => this.#lost();
    this.#socket = socket;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  say(type, fields = {}) {
    if (this.isOpen) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  /** Send a picture of the camera: its number, when it was taken, and the JPEG. */
  sendPicture(number, capturedMs, jpeg) {
    if (!this.isOpen) return;
    const message = new Uint8Array(OUT_HEADER_BYTES + jpeg.byteLength);
    const header = new DataView(message.buffer);
    header.setUint32(0, number, true);
    header.setFloat64(4, capturedMs, true);
    message.set(new Uint8Array(jpeg), OUT_HEADER_BYTES);
    this.#socket.send(message);
  }

  #hear(message) {
    if (message.type === "pong") {
      const half = (performance.now() - message.at) / 2;
      this.halfTrip = this.halfTrip === 0 ? half : Math.min(half, this.halfTrip * 1.2);
    } else {
      this.dispatchEvent(new CustomEvent(message.type, { detail: message }));
    }
  }

  #take(data) {
    const header = new DataView(data);
    const kind = header.getUint8(0);
    const rawBytes = header.getUint32(12, true);
    const picture = {
      number: header.getUint32(4, true),
      hereMs: header.getFloat32(8, true),
      cameAt: performance.now(),
      raw: rawBytes ? new Uint8Array(data, IN_HEADER_BYTES, rawBytes) : null,
      sharp: new Uint8Array(data, IN_HEADER_BYTES + rawBytes),
    };
    this.dispatchEvent(new CustomEvent(kind === SNAPSHOT ? "snapshot" : "picture", { detail: picture }));
  }

  #ping() {
    clearTimeout(this.#pings);
    if (!this.isOpen) return;
    this.say("ping", { at: performance.now() });
    this.#pings = setTimeout(() => this.#ping(), PING_MS);
  }

  #lost() {
    clearTimeout(this.#pings);
    this.halfTrip = 0;
    this.dispatchEvent(new CustomEvent("lost", { detail: { retryMs: this.#retry } }));
    setTimeout(() => this.connect(), this.#retry);
    this.#retry = Math.min(2 * this.#retry, LAST_RETRY_MS);
  }
}
