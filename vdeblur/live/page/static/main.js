// The page: what is started, what is shown, and what is said when something is missing.

import { Camera, CameraError, cameraObstacle, listCameras } from "./camera.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { setUpDivider } from "./divider.js";
import { announce, byId, download, make, notice, write } from "./dom.js";
import { Files } from "./files.js";
import { Numbers } from "./numbers.js";
import { Plot } from "./plot.js";
import { View } from "./view.js";

const SERVER = "server";
const CAMERA = "camera";

history.replaceState(null, "", location.pathname);  // the token is in a cookie from now on

const connection = new Connection();
const view = new View(byId("picture"), byId("view"));
const controls = new Controls((type, fields) => connection.say(type, fields));
const numbers = new Numbers();
const plot = new Plot();
const files = new Files(() => controls.chosen());
setUpDivider(byId("divider"), byId("view"), (part) => { view.split = part; });

/** What runs: nothing, or a source ("server" or "camera"), and what it is waiting for. */
let running = null;
let camera = null;
let hello = null;
let recording = false;

// --- What people are told --------------------------------------------------------------------------------------------

function state(kind, words) {
  byId("state").dataset.kind = kind;
  if (byId("state-words").textContent !== words) announce(words);
  write(byId("state-words"), words);
}

function welcome(title, words, button = "") {
  byId("welcome").hidden = false;
  byId("shown").hidden = true;
  write(byId("welcome-title"), title);
  write(byId("welcome-words"), words);
  byId("welcome-start").hidden = !button;
  write(byId("welcome-start"), button);
}

function showButtons() {
  const open = connection.isOpen;
  byId("start").disabled = !open || (!running && !sourceIsThere());
  byId("start").classList.toggle("primary", !running);
  write(byId("start-words"), running ? "Stop" : "Start");
  for (const id of ["snapshot", "record"]) byId(id).disabled = !open || byId("shown").hidden;
  byId("record").setAttribute("aria-pressed", String(recording));
  byId("resolution-field").hidden = !byId("source").value.startsWith(CAMERA);
}

// --- Sources ---------------------------------------------------------------------------------------------------------

const sourceIsThere = () => byId("source").value !== "";

async function listSources() {
  const select = byId("source");
  const before = select.value;
  const cameras = await listCameras();
  const own = cameras.map(({ deviceId, label }, index) => make("option", { value: `${CAMERA}:${deviceId}`, textContent: label || `This browser's camera${index ? ` ${index + 1}` : ""}` }));
  if (!own.length && !cameraObstacle()) own.push(make("option", { value: `${CAMERA}:`, textContent: "This browser's camera" }));
  const server = hello?.server_source ? [make("option", { value: SERVER, textContent: `Server: ${hello.server_source}` })] : [];
  select.replaceChildren(...server, ...own);
  if ([...select.options].some(({ value }) => value === before)) select.value = before;
  if (!select.options.length) select.append(make("option", { value: "", textContent: "No camera" }));
  const obstacle = cameraObstacle();
  byId("camera-hint").hidden = !obstacle;
  byId("camera-hint").classList.toggle("warn", Boolean(obstacle));
  write(byId("camera-hint"), obstacle ?? "");
  showButtons();
}

function greet() {
  if (cameraObstacle() && !hello.server_source) {
    welcome("The camera is not available here", `${cameraObstacle()} You can still restore a video file.`);
  } else {
    welcome("See without motion blur", "Raw on the left, sharp on the right. The picture goes to this server only, and is not kept.", "Start camera");
  }
  state("good", "Connected");
}

async function start() {
  const [kind, deviceId] = [byId("source").value.split(":", 1)[0], byId("source").value.slice(CAMERA.length + 1)];
  running = kind;
  view.reset();
  numbers.clear();
  plot.clear();
  showButtons();
  if (kind === CAMERA && !(await startCamera(deviceId))) return;
  if (running !== kind) return;
  state("waiting", "Waiting for the first picture");
  connection.say("start", { source: kind });
  if (kind === CAMERA) connection.say("change", controls.chosen());
}

async function startCamera(deviceId) {
  welcome("Waiting for the camera", "The browser asks whether this page may use the camera.");
  state("waiting", "Waiting for the camera");
  const [width, height] = byId("resolution").value.split("x").map(Number);
  const opened = new Camera();
  try {
    await opened.open(deviceId, width, height);
  } catch (error) {
    opened.close();
    running = null;
    state("bad", error.title ?? "The camera does not start");
    if (error instanceof CameraError) welcome(error.title, error.message, "Try again");
    else welcome("The camera does not start", String(error.message), "Try again");
    showButtons();
    return false;
  }
  if (running !== CAMERA) {
    opened.close();
    return false;
  }
  camera = opened;
  camera.addEventListener("taken", ({ detail }) => send(detail));
  camera.addEventListener("gone", () => { stop(); welcome("The camera is gone", "It was unplugged, or taken away from this page.", "Start again"); });
  listSources();
  return true;
}

function send({ picture, number, capturedMs, jpeg }) {
  if (!connection.isOpen || running !== CAMERA) {
    picture.close();
    camera?.got(number);
    return;
  }
  view.keep(number, picture, capturedMs);
  connection.sendPicture(number, capturedMs, jpeg);
}

function stop() {
  connection.say("leave");
  camera?.close();
  camera = running = null;
  forgetWhatRan();
  greet();
  showButtons();
}

/** Nothing runs any more: numbers, hints and buttons that told of it are cleared. */
function forgetWhatRan() {
  recording = false;
  write(byId("record-words"), "Record");
  byId("notice").hidden = true;
  view.reset();
  numbers.clear();
  plot.clear();
  controls.still();
}

/** The source gives no pictures for now: what is measured of pictures is no longer true. */
function stall() {
  numbers.still();
  plot.still();
}

// --- Pictures --------------------------------------------------------------------------------------------------------

async function show(picture) {
  if (!running) return;
  let capturedMs;
  try {
    capturedMs = await view.show(picture);
  } finally {
    await visible();
    connection.say("ack", { number: picture.number });
  }
  if (capturedMs === undefined || !running) return;
  if (byId("shown").hidden) {
    byId("welcome").hidden = true;
    byId("shown").hidden = false;
    showButtons();
  }
  requestAnimationFrame((now) => {
    const since = capturedMs ?? picture.cameAt - picture.hereMs - connection.halfTrip;
    numbers.drew(Math.max(now, performance.now()) - since);
  });
}

/** Wait until somebody can see the page: a hidden one takes no pictures. */
function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => { document.addEventListener("visibilitychange", resolve, { once: true }); });
}

function follow(status) {
  if (!running) return;
  numbers.status(status);
  controls.follow(status);
  if (status.state === "running") plot.add(status);
  else stall();
  recording = status.recording !== null;
  write(byId("record-words"), recording ? `Stop ${clock(status.recording)}` : "Record");
  const lost = running === SERVER ? "The source is lost; looking for it" : "The camera is lost; looking for it";
  const words = { starting: "Starting", waiting: "Waiting for pictures", lost, ended: "The source has ended", failed: status.message };
  if (status.state === "running") state("good", "Live");
  else state(["ended", "failed"].includes(status.state) ? "bad" : "waiting", words[status.state]);
  showButtons();
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const stamp = () => new Date().toISOString().slice(0, 19).replace("T", " ").replaceAll(":", "-");

// --- The server's words ----------------------------------------------------------------------------------------------

const on = (type, action) => connection.addEventListener(type, ({ detail }) => action(detail));

on("hello", async (message) => {
  hello = message;
  controls.begin(message);
  files.limit = message.upload_limit;
  await listSources();
  if (running === CAMERA && camera) {
    view.reset();
    connection.say("start", { source: CAMERA });
    connection.say("change", controls.chosen());
  } else if (message.server_source) {
    byId("source").value = SERVER;
    start();
  } else {
    greet();
  }
  showButtons();
});
on("picture", show);
on("status", follow);
on("got", ({ number }) => camera?.got(number));
on("snapshot", ({ sharp }) => {
  const url = URL.createObjectURL(new Blob([sharp], { type: "image/png" }));
  download(url, `vdeblur ${stamp()}.png`);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  announce("The snapshot is saved");
});
on("recorded", ({ url, name }) => files.recorded(url, name));
on("problem", ({ message }) => notice(message));
on("busy", ({ message }) => {
  camera?.close();
  camera = running = null;
  forgetWhatRan();
  welcome("The server is busy", message, hello ? "Try again" : "");
  state("bad", "Server busy");
  showButtons();
});
on("lost", () => {
  recording = false;
  write(byId("record-words"), "Record");
  camera?.startAgain();
  stall();
  controls.still();
  state("waiting", "Connection lost; trying again");
  if (byId("shown").hidden) welcome("No connection", "The server does not answer. This page tries again by itself.");
  else notice("Connection lost; trying again", 60_000);
  showButtons();
});
on("started", () => { byId("notice").hidden = true; });

// --- Buttons ---------------------------------------------------------------------------------------------------------

byId("start").addEventListener("click", () => (running ? stop() : start()));
byId("welcome-start").addEventListener("click", start);
byId("snapshot").addEventListener("click", () => connection.say("snapshot"));
byId("record").addEventListener("click", () => connection.say("record", { on: !recording }));
byId("source").addEventListener("change", () => {
  showButtons();
  if (running) { stop(); start(); }
});
byId("resolution").addEventListener("change", () => { if (running === CAMERA) { stop(); start(); } });
byId("fullscreen").hidden = !document.fullscreenEnabled;
byId("fullscreen").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else byId("stage").requestFullscreen();
});
document.addEventListener("fullscreenchange", () => {
  const words = document.fullscreenElement ? "Leave full screen" : "Full screen";
  byId("fullscreen").setAttribute("aria-label", words);
  byId("fullscreen").title = words;
});
navigator.mediaDevices?.addEventListener("devicechange", listSources);

listSources();
connection.connect();
