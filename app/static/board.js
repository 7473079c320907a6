"use strict";

// What both pages share: paper to draw on with mouse, pen, finger or arrow keys, and the answer.

const QUIET = 700; // milliseconds an answer must stand before a screen reader reads it out
const STEP = 1 / 40; // of the paper's side, by which an arrow key moves the pen
const NO_DIGIT = 10; // the place of "no digit" among a model's probabilities, where it has one
const MOST_UNDONE = 100; // changes to the paper that are remembered
const ALTERED = 8; // levels of 255 by which browsers may alter what is read without harm

const byId = (id) => document.getElementById(id);
const canvas = byId("canvas");
const paper = canvas.getContext("2d", { willReadFrequently: true });

// --- What is on the paper ---

// Lines {from, to, width} in pixels of the canvas, or a picture {paint, ...}.
let content = { lines: [], picture: null };
const past = []; // what was there before each change
let changed; // what the page does after a change; true: something else is there, not only more ink

const isBlank = () => content.lines.length === 0 && content.picture === null;

function remember() {
  past.push({ ...content, lines: [...content.lines] });
  if (past.length > MOST_UNDONE) past.shift();
}

function replace({ lines = [], picture = null }) {
  content = { lines, picture };
  lift();
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  picture?.paint();
  lines.forEach(paint);
  showChange(true);
}

// Draws a line, or a dot where both ends are the same.
function draw(from, to, width = byId("pen").valueAsNumber) {
  const line = { from: { ...from }, to: { ...to }, width };
  content.lines.push(line);
  paint(line);
  showChange(false);
}

function paint({ from, to, width }) {
  paper.strokeStyle = "#111";
  paper.lineWidth = width;
  paper.lineCap = "round";
  paper.beginPath();
  paper.moveTo(from.x, from.y);
  paper.lineTo(to.x + 0.01, to.y); // since browsers draw no line of length 0
  paper.stroke();
}

function showChange(isOther) {
  byId("hint").hidden = !isBlank();
  notify("");
  changed(isOther);
}

// Begins a stroke. One over a picture replaces it.
function begin() {
  remember();
  if (content.picture) replace({});
}

function clear() {
  if (!isBlank()) remember();
  replace({});
}

function undo() {
  if (past.length) replace(past.pop());
}

// --- The hand ---

const pen = { x: canvas.width / 2, y: canvas.height / 2, down: false }; // down: by a key
let pointer = null; // the mouse, pen or finger that is drawing

function lift() {
  pointer = null;
  pen.down = false;
  byId("cursor").classList.remove("down");
}

function moveTo(next) {
  draw(pen, next);
  Object.assign(pen, next);
}

// Calls whenChanged after each change to the paper, and once now: see `changed`.
function listen(whenChanged) {
  changed = whenChanged;
  listenToPointers();
  listenToArrows();
  document.addEventListener("keydown", (event) => {
    const act = shortcut(event);
    if (!act) return;
    event.preventDefault();
    act();
  });
  for (const [name, act] of [["clear", clear], ["undo", undo]]) {
    byId(name).addEventListener("click", (event) => {
      act();
      // After a mouse or finger, the next key is for the paper; after a key, for the button.
      if (event.detail) canvas.focus({ preventScroll: true });
    });
  }
  replace({});
}

function shortcut({ key, ctrlKey, metaKey, altKey, shiftKey }) {
  if (altKey || shiftKey) return null;
  if (ctrlKey || metaKey) return key.toLowerCase() === "z" ? undo : null;
  return key === "Delete" || key === "Backspace" ? clear : null;
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * canvas.width) / box.width,
    y: ((event.clientY - box.top) * canvas.height) / box.height,
  };
}

function listenToPointers() {
  canvas.addEventListener("pointerdown", (event) => {
    const { pointerId: id, pointerType: type } = event;
    if (event.button !== 0) return;
    if (pointer && pointer.id !== id) {
      if (pointer.type === "pen" || type !== "pen") return; // one draws at a time
      undo(); // the palm that came down before its pen
    }
    canvas.setPointerCapture(id);
    begin();
    pointer = { id, type };
    byId("cursor").hidden = true;
    Object.assign(pen, place(event));
    moveTo(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (pointer?.id !== event.pointerId) return;
    // A fast pen moves several times within one frame; not every browser reports this.
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) moveTo(place(move));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      if (pointer?.id === event.pointerId) lift();
    });
  }
  // A quick stroke is not a fling, after which the browser would take the next tap for a stop.
  canvas.addEventListener("touchmove", (event) => event.preventDefault(), { passive: false });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function listenToArrows() {
  const within = (value) => Math.min(Math.max(value, 0), canvas.width);
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      const [x, y] = ARROWS[event.key].map((way) => way * STEP * canvas.width);
      const next = { x: within(pen.x + x), y: within(pen.y + y) };
      if (pen.down) moveTo(next);
      else Object.assign(pen, next);
    } else if (event.key === " ") {
      if (pen.down) {
        lift();
      } else {
        begin();
        pen.down = true;
        moveTo(pen);
      }
    } else {
      return;
    }
    event.preventDefault();
    showCursor();
  });
  canvas.addEventListener("blur", () => {
    lift();
    byId("cursor").hidden = true;
  });
}

function showCursor() {
  const cursor = byId("cursor");
  cursor.hidden = false;
  cursor.classList.toggle("down", pen.down);
  cursor.style.left = `${(100 * pen.x) / canvas.width}%`;
  cursor.style.top = `${(100 * pen.y) / canvas.height}%`;
}

// --- Whether the browser lets a page read what is drawn on it ---

// Half white, half black, and as large as the paper: a browser may let small canvases be read.
const known = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
known.canvas.width = canvas.width;
known.canvas.height = canvas.height;
known.fillStyle = "#fff";
known.fillRect(0, 0, canvas.width / 2, canvas.height);
known.fillStyle = "#000";
known.fillRect(canvas.width / 2, 0, canvas.width / 2, canvas.height);

// Returns false where reading a canvas fails or gives noise or one colour. It is asked before each
// reading, since the user may have allowed it meanwhile.
function isReadable() {
  try {
    const { data } = known.getImageData(0, canvas.height / 2, canvas.width, 1);
    return data.every((value, i) => {
      const wanted = i % 4 === 3 || i < data.length / 2 ? 255 : 0; // opaque; white on the left
      return Math.abs(value - wanted) <= ALTERED;
    });
  } catch {
    return false;
  }
}

// --- Showing ---

let speaking; // the timer before a screen reader reads the answer

// What is said in place of an answer: a sign, the verdict, and the detail.
const NOTHING = ["–", "Nothing drawn yet", "The answer appears here."];
const HIDDEN = [
  "!",
  "Your browser hides the drawing",
  "To prevent tracking, it keeps pages from reading canvases, as Tor Browser, LibreWolf and Firefox " +
    "with resistFingerprinting do. Click the picture icon beside the address, choose Allow, and draw " +
    "again.",
];

// No probability is 0 or 1, though it may be rounded to them.
function percent(share) {
  const rounded = (100 * share).toFixed(1);
  const shown = { "100.0": "over\u00a099.9", "0.0": "under\u00a00.1" }[rounded] ?? rounded;
  return `${shown}\u00a0%`;
}

const withArticle = (digit) => `${digit === 8 ? "an" : "a"} ${digit}`;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Says a sentence beside the paper, until what is on it changes.
const notify = (sentence) => (byId("notice").textContent = sentence);

function say(sign, verdict, detail) {
  byId("digit").textContent = sign;
  const lines = String(sign).split("\n");
  byId("digit").style.setProperty("--length", Math.max(...lines.map((line) => line.length)));
  byId("digit").style.setProperty("--lines", lines.length);
  byId("verdict").textContent = verdict;
  byId("detail").textContent = detail;
  clearTimeout(speaking);
  speaking = setTimeout(() => (byId("announcement").textContent = `${verdict}. ${detail}`), QUIET);
}

function showBars(probabilities, refused = false) {
  byId("bars").classList.toggle("refused", refused);
  const best = probabilities ? Math.max(...probabilities) : null;
  for (const [index, row] of [...byId("bars").children].entries()) {
    const share = probabilities ? probabilities[index] : 0;
    row.classList.toggle("first", share === best);
    row.querySelector(".bar").style.setProperty("--share", share);
    row.querySelector(".value").textContent = probabilities ? percent(share) : "–";
  }
}

for (let index = 0; index <= NO_DIGIT; index += 1) {
  const none = index === NO_DIGIT;
  const label = element("span", { className: "label", textContent: none ? "no digit" : index });
  const track = element("span", { className: "track" }, element("span", { className: "bar" }));
  const value = element("span", { className: "value" });
  byId("bars").append(element("li", { className: none ? "none" : "" }, label, track, value));
}
