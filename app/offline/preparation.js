"use strict";

// Lines on the paper -> the 28x28 image that the network takes. Python has to find ink in pixels
// (study/reading/); here the strokes are known, so they are drawn again at their final size, with a
// pen as wide as MNIST's, and moved to their centre of mass.

const DIGIT_SIZE = 20, IMAGE_SIZE = 28;
const FINE = 8; // drawn at this multiple of the final size
const STROKE_WIDTHS = [2, 5]; // pixels at the final size; nearly all of MNIST lies in between

const small = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
small.canvas.width = small.canvas.height = IMAGE_SIZE * FINE;

// `lines` are {from, to, width} in pixels of the paper; returns 28x28 levels, 0 for paper to 255.
function prepare(lines) {
  const box = boxOf(lines);
  const factor = DIGIT_SIZE / Math.max(box.right - box.left, box.bottom - box.top);
  drawAgain(lines, box, factor);
  return centred(means());
}

// The box around lines, their width included.
function boxOf(lines) {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const { from, to, width } of lines) {
    box.left = Math.min(box.left, from.x - width / 2, to.x - width / 2);
    box.top = Math.min(box.top, from.y - width / 2, to.y - width / 2);
    box.right = Math.max(box.right, from.x + width / 2, to.x + width / 2);
    box.bottom = Math.max(box.bottom, from.y + width / 2, to.y + width / 2);
  }
  return box;
}

function drawAgain(lines, box, factor) {
  small.resetTransform();
  small.clearRect(0, 0, IMAGE_SIZE * FINE, IMAGE_SIZE * FINE);
  small.scale(FINE * factor, FINE * factor);
  const middle = IMAGE_SIZE / 2 / factor;
  small.translate(middle - (box.left + box.right) / 2, middle - (box.top + box.bottom) / 2);
  small.lineCap = "round";
  for (const { from, to, width } of lines) {
    small.lineWidth = Math.min(Math.max(width, STROKE_WIDTHS[0] / factor), STROKE_WIDTHS[1] / factor);
    small.beginPath();
    small.moveTo(from.x, from.y);
    small.lineTo(to.x + 0.01, to.y); // since browsers draw no line of length 0
    small.stroke();
  }
}

// The mean ink of each square of pixels, 0 to 255.
function means() {
  const side = IMAGE_SIZE * FINE, { data } = small.getImageData(0, 0, side, side);
  const ink = new Float32Array(IMAGE_SIZE ** 2);
  for (let place = 0; place < side * side; place += 1) {
    const x = place % side, y = (place - x) / side;
    ink[Math.floor(y / FINE) * IMAGE_SIZE + Math.floor(x / FINE)] += data[4 * place + 3] / FINE ** 2;
  }
  return ink;
}

// Moves the centre of mass to the middle, by whole pixels, as far as there is room.
function centred(ink) {
  const move = ["x", "y"].map((axis) => {
    const at = (place) => (axis === "x" ? place % IMAGE_SIZE : Math.floor(place / IMAGE_SIZE));
    let mass = 0, moment = 0, first = IMAGE_SIZE, last = 0;
    ink.forEach((level, place) => {
      if (!level) return;
      [mass, moment] = [mass + level, moment + level * at(place)];
      [first, last] = [Math.min(first, at(place)), Math.max(last, at(place))];
    });
    const wished = Math.round((IMAGE_SIZE - 1) / 2 - moment / mass);
    return Math.min(Math.max(wished, -first), IMAGE_SIZE - 1 - last);
  });
  const moved = new Float32Array(IMAGE_SIZE ** 2);
  ink.forEach((level, place) => {
    if (level) moved[place + move[0] + IMAGE_SIZE * move[1]] = Math.round(level);
  });
  return moved;
}
