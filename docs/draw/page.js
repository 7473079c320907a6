"use strict";

// Draw, read, show: all of it in this page.

const QUIET = 700; // milliseconds an answer must stand before a screen reader reads it out
const STEP = 11; // pixels by which an arrow key moves the pen
const NO_DIGIT = 10; // the place of "no digit" among the probabilities

const byId = (id) => document.getElementById(id);
const canvas = byId("canvas");
const paper = canvas.getContext("2d", { willReadFrequently: true });
const model = JSON.parse(byId("model").textContent);
const layers = layersOf(model);

// --- Drawing ---

function clear() {
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  byId("hint").hidden = false;
  readSoon();
}

// Draws a line, or a dot where both ends are the same. Places and width are pixels of the canvas.
function draw(from, to, width) {
  paper.strokeStyle = "#111";
  paper.lineWidth = width;
  paper.lineCap = "round";
  paper.beginPath();
  paper.moveTo(from.x, from.y);
  paper.lineTo(to.x + 0.01, to.y); // since browsers draw no line of length 0
  paper.stroke();
  byId("hint").hidden = true;
  readSoon();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * canvas.width) / box.width,
    y: ((event.clientY - box.top) * canvas.height) / box.height,
  };
}

const lasts = new Map(); // where each mouse, pen or finger that is down was last

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  const start = place(event);
  lasts.set(event.pointerId, start);
  draw(start, start, byId("pen").value);
});
canvas.addEventListener("pointermove", (event) => {
  if (!lasts.has(event.pointerId)) return;
  // A fast pen moves several times within one frame; not every browser tells.
  const moves = event.getCoalescedEvents?.() ?? [];
  for (const move of moves.length ? moves : [event]) {
    const next = place(move);
    draw(lasts.get(event.pointerId), next, byId("pen").value);
    lasts.set(event.pointerId, next);
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => lasts.delete(event.pointerId));
}
byId("clear").addEventListener("click", clear);

const cursor = { x: canvas.width / 2, y: canvas.height / 2, down: false }; // moved by the arrows
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const from = { x: cursor.x, y: cursor.y };
  if (event.key in ARROWS) {
    const within = (value) => Math.min(Math.max(value, 0), canvas.width);
    cursor.x = within(cursor.x + STEP * ARROWS[event.key][0]);
    cursor.y = within(cursor.y + STEP * ARROWS[event.key][1]);
  } else if (event.key === " ") {
    cursor.down = !cursor.down;
  } else if (event.key === "Delete" || event.key === "Backspace") {
    clear();
  } else {
    return;
  }
  event.preventDefault();
  if (cursor.down) draw(from, cursor, byId("pen").value);
  showCursor(true);
});
canvas.addEventListener("blur", () => {
  cursor.down = false;
  showCursor(false);
});

function showCursor(visible) {
  byId("cursor").hidden = !visible;
  byId("cursor").classList.toggle("down", cursor.down);
  byId("cursor").style.left = `${(100 * cursor.x) / canvas.width}%`;
  byId("cursor").style.top = `${(100 * cursor.y) / canvas.height}%`;
}

// --- Reading ---

let frame; // the frame of the screen before which the drawing will be read

function readSoon() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => show(read()));
}

// Returns the answer to what is drawn, or null if nothing is: the digit, null for no digit; the
// closest digit; the eleven probabilities; and the picture that the network took.
function read() {
  const image = prepare(paper.getImageData(0, 0, canvas.width, canvas.height).data);
  if (!image) return null;
  const probabilities = probabilitiesOf(image, model, layers);
  const digits = probabilities.slice(0, NO_DIGIT);
  const closest = digits.indexOf(Math.max(...digits));
  const digit = probabilities[NO_DIGIT] < model.threshold ? closest : null;
  return { digit, closest, probabilities, image };
}

// --- Showing ---

let speaking; // the timer before a screen reader reads the answer

const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

function show(answer) {
  const refused = answer !== null && answer.digit === null;
  document.body.classList.toggle("refused", refused);
  if (!answer) {
    say("–", "Nothing drawn yet", "The answer appears here.");
  } else if (refused) {
    const sure = percent(answer.probabilities[NO_DIGIT]);
    say("?", "No digit that I know", `${sure} sure. The closest digit is ${answer.closest}.`);
  } else {
    const { digit, probabilities } = answer;
    const verdict = `This is ${digit === 8 ? "an" : "a"} ${digit}`;
    say(digit, verdict, `${percent(probabilities[digit])} sure`);
  }
  showBars(answer?.probabilities);
  showInput(answer?.image);
}

function say(sign, verdict, detail) {
  byId("digit").textContent = sign;
  byId("verdict").textContent = verdict;
  byId("detail").textContent = detail;
  clearTimeout(speaking);
  speaking = setTimeout(() => (byId("announcement").textContent = `${verdict}. ${detail}`), QUIET);
}

function showBars(probabilities) {
  const best = probabilities && Math.max(...probabilities);
  [...byId("bars").children].forEach((row, i) => {
    row.classList.toggle("first", probabilities?.[i] === best && best !== undefined);
    row.querySelector(".bar").style.setProperty("--share", probabilities?.[i] ?? 0);
    row.querySelector(".value").textContent = probabilities ? percent(probabilities[i]) : "–";
  });
}

function showInput(image) {
  const pixels = new ImageData(IMAGE_SIZE, IMAGE_SIZE);
  for (let i = 0; i < IMAGE_SIZE ** 2; i += 1) {
    const level = image ? image.data[i] : 0;
    pixels.data.set([level, level, level, 255], 4 * i);
  }
  byId("input").getContext("2d").putImageData(pixels, 0, 0);
}

for (let i = 0; i <= NO_DIGIT; i += 1) {
  const row = byId("row").content.cloneNode(true).firstElementChild;
  row.classList.toggle("none", i === NO_DIGIT);
  row.querySelector(".label").textContent = i === NO_DIGIT ? "no digit" : i;
  byId("bars").append(row);
}
clear();
