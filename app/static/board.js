"use strict";

// What both pages share: paper to draw on by mouse, pen, finger or arrow keys, and the answer beside it.

const QUIET = 700; // milliseconds an answer must stand before a screen reader reads it out
const STEP = 1 / 40; // of the paper's side, by which an arrow key moves the pen
const NO_DIGIT = 10; // the place of "no digit" among a model's probabilities, where it has one

const byId = (id) => document.getElementById(id);
const canvas = byId("canvas");
const paper = canvas.getContext("2d", { willReadFrequently: true });

// --- Drawing ---

function blank() {
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  byId("hint").hidden = false;
}

// Draws a line, or a dot where both ends are the same. Places and width are pixels of the canvas.
function line(from, to, width = byId("pen").value) {
  paper.strokeStyle = "#111";
  paper.lineWidth = width;
  paper.lineCap = "round";
  paper.beginPath();
  paper.moveTo(from.x, from.y);
  paper.lineTo(to.x + 0.01, to.y); // since browsers draw no line of length 0
  paper.stroke();
  byId("hint").hidden = true;
}

// Calls draw(from, to) for each movement of a pen that is down, and clear() where that is asked for.
function listen(draw, clear) {
  listenToPointers(draw);
  listenToKeys(draw, clear);
  byId("clear").addEventListener("click", clear);
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * canvas.width) / box.width,
    y: ((event.clientY - box.top) * canvas.height) / box.height,
  };
}

function listenToPointers(draw) {
  const lasts = new Map(); // where each mouse, pen or finger that is down was last
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    const start = place(event);
    lasts.set(event.pointerId, start);
    draw(start, start);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!lasts.has(event.pointerId)) return;
    // A fast pen moves several times within one frame; not every browser tells.
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) {
      const next = place(move);
      draw(lasts.get(event.pointerId), next);
      lasts.set(event.pointerId, next);
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => lasts.delete(event.pointerId));
  }
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function listenToKeys(draw, clear) {
  const pen = { x: canvas.width / 2, y: canvas.height / 2, down: false }; // moved by the arrows
  const within = (value) => Math.min(Math.max(value, 0), canvas.width);
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      const from = { x: pen.x, y: pen.y };
      const [right, down] = ARROWS[event.key];
      pen.x = within(pen.x + right * STEP * canvas.width);
      pen.y = within(pen.y + down * STEP * canvas.width);
      if (pen.down) draw(from, pen);
    } else if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) draw(pen, pen);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else {
      return;
    }
    event.preventDefault();
    showCursor(pen, true);
  });
  canvas.addEventListener("blur", () => {
    pen.down = false;
    showCursor(pen, false);
  });
}

function showCursor(pen, visible) {
  const cursor = byId("cursor");
  cursor.hidden = !visible;
  cursor.classList.toggle("down", pen.down);
  cursor.style.left = `${(100 * pen.x) / canvas.width}%`;
  cursor.style.top = `${(100 * pen.y) / canvas.height}%`;
}

// --- Showing ---

let speaking; // the timer before a screen reader reads the answer

const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
const withArticle = (digit) => `${digit === 8 ? "an" : "a"} ${digit}`;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(sign, verdict, detail) {
  byId("digit").textContent = sign;
  byId("digit").style.setProperty("--length", String(sign).length);
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
