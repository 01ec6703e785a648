// The browser's own camera: each new picture becomes a JPEG in a worker, unless the ones before are still on their way.

const IN_FLIGHT = 2;
const QUALITY = 0.9;

export class CameraError extends Error {
  constructor(title, words) {
    super(words);
    this.title = title;
  }
}

/** Why this page cannot use a camera, or null if it can. */
export function cameraObstacle() {
  if (!window.isSecureContext) {
    return "Browsers give the camera only to pages on this machine or over HTTPS. Open the https:// address that vdeblur has printed.";
  }
  return navigator.mediaDevices?.getUserMedia ? null : "This browser offers no camera to web pages.";
}

/** Cameras by id and label; labels are known once the camera was allowed. */
export async function listCameras() {
  if (cameraObstacle()) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind }) => kind === "videoinput");
}

export class Camera extends EventTarget {
  #stream = null;
  #video = document.createElement("video");
  #worker = new Worker(new URL("encoder.js", import.meta.url));
  #encoding = false;
  #onTheirWay = new Set();
  #number = 0;
  #sawAt = 0;

  constructor() {
    super();
    this.#video.muted = true;
    this.#video.playsInline = true;
    this.#worker.onmessage = ({ data }) => this.#encoded(data);
  }

  /** Start the camera; asks the person for it. */
  async open(deviceId, width, height) {
    const wanted = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
    const video = deviceId ? { ...wanted, deviceId: { exact: deviceId } } : wanted;
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      throw explained(error);
    }
    const [track] = this.#stream.getVideoTracks();
    track.addEventListener("ended", () => this.dispatchEvent(new Event("gone")));
    this.#video.srcObject = this.#stream;
    await this.#video.play();
    this.#next();
  }

  /** The server has this picture. */
  got(number) {
    this.#onTheirWay.delete(number);
  }

  /** The connection was lost, and with it whatever was on its way. */
  startAgain() {
    this.#onTheirWay.clear();
  }

  close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
    this.#worker.terminate();
  }

  #next() {
    if ("requestVideoFrameCallback" in this.#video) {
      this.#video.requestVideoFrameCallback((now, facts) => this.#see(facts.captureTime ?? now));
    } else {
      requestAnimationFrame((now) => {
        if (this.#video.currentTime === this.#sawAt) return this.#stream && this.#next();
        this.#sawAt = this.#video.currentTime;
        return this.#see(now);
      });
    }
  }

  async #see(capturedMs) {
    if (!this.#stream) return;
    this.#next();
    if (this.#encoding || this.#onTheirWay.size >= IN_FLIGHT) return;
    this.#encoding = true;
    try {
      const picture = await createImageBitmap(this.#video);
      this.#number += 1;
      this.#worker.postMessage({ picture, number: this.#number, capturedMs, quality: QUALITY }, [picture]);
    } catch {
      this.#encoding = false;  // the camera was closed meanwhile
    }
  }

  #encoded({ picture, number, capturedMs, jpeg }) {
    this.#encoding = false;
    if (!this.#stream) return picture.close();
    this.#onTheirWay.add(number);
    return this.dispatchEvent(new CustomEvent("taken", { detail: { picture, number, capturedMs, jpeg } }));
  }
}

function explained(error) {
  switch (error.name) {
    case "NotAllowedError":
      return new CameraError("The camera was not allowed",
        "Allow the camera for this page in the browser's address bar, then start again.");
    case "NotFoundError":
    case "OverconstrainedError":
      return new CameraError("No camera was found", "Connect a camera, then start again.");
    case "NotReadableError":
      return new CameraError("The camera is in use", "Another program has the camera. Close it, then start again.");
    default:
      return new CameraError("The camera does not start", error.message);
  }
}
