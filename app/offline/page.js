"use strict";

// Read and show: all of it in this page. What it shares with the page of the app is in board.js.

const model = JSON.parse(byId("model").textContent);
const layers = layersOf(model);

// --- Reading ---

let frame; // the frame of the screen before which the drawing will be read

function readSoon() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => (isReadable() ? show(read()) : showInstead(HIDDEN)));
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

function show(answer) {
  if (!answer) {
    showInstead(NOTHING);
    return;
  }
  const { digit, closest, probabilities, image } = answer;
  const refused = digit === null;
  document.body.classList.toggle("refused", refused);
  if (refused) {
    const sure = percent(probabilities[NO_DIGIT]);
    say("?", "No digit that I know", `${sure} sure. The closest digit is ${closest}.`);
  } else {
    say(digit, `This is ${withArticle(digit)}`, `${percent(probabilities[digit])} sure`);
  }
  showBars(probabilities, refused);
  showInput(image);
}

// Says something in place of an answer.
function showInstead(words) {
  document.body.classList.toggle("refused", words !== NOTHING);
  say(...words);
  showBars(null);
  showInput(null);
}

function showInput(image) {
  const pixels = new ImageData(IMAGE_SIZE, IMAGE_SIZE);
  for (let i = 0; i < IMAGE_SIZE ** 2; i += 1) {
    const level = image ? image.data[i] : 0;
    pixels.data.set([level, level, level, 255], 4 * i);
  }
  byId("input").getContext("2d").putImageData(pixels, 0, 0);
}

for (const name of ["paste", "drop", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // otherwise the browser would open a dropped file in place of the page
    if (name !== "dragover") notify("This page reads only what is drawn on it, no files and no text.");
  });
}
listen(readSoon);
