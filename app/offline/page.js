"use strict";

// Read and show: all of it in this page. What it shares with the page of the app is in board.js.

const model = JSON.parse(byId("model").textContent);
const layers = layersOf(model);

// --- Reading ---

let frame; // the screen's frame before which the drawing will be read

function readSoon() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => (isReadable() ? show(read()) : showInstead(HIDDEN)));
}

// Returns the lines of digits that are drawn. Each digit has its value, null for no digit; the
// closest digit; the eleven probabilities; the network's input image; and the piece of ink.
const read = () => readingOf(content.lines, look);

function look(piece) {
  const image = prepare(piece.lines);
  const probabilities = probabilitiesOf(image, model, layers);
  const digits = probabilities.slice(0, NO_DIGIT);
  const closest = digits.indexOf(Math.max(...digits));
  const digit = probabilities[NO_DIGIT] < model.threshold ? closest : null;
  return { digit, closest, probabilities, image, piece };
}

// --- Showing ---

const signs = (line) => line.map((one) => one.digit ?? "?").join("");

function show(lines) {
  const digits = lines.flat();
  if (!digits.length) {
    showInstead(NOTHING);
    return;
  }
  const refused = digits.length === 1 && digits[0].digit === null;
  document.body.classList.toggle("refused", refused);
  say(lines.map(signs).join("\n"), ...inWords(lines, digits));
  choose(digits, 0);
}

function inWords(lines, digits) {
  const [{ digit, closest, probabilities }] = digits;
  if (digits.length > 1) {
    const unread = digits.filter((one) => one.digit === null).length;
    const least = percent(Math.min(...digits.map((one) => one.probabilities[one.digit] ?? 1)));
    const each = unread ? `${unread} of ${digits.length} pieces could not be read` : `${digits.length} digits`;
    return [`This is ${lines.map(signs).join(", ")}`, `${each}; the least certain has a probability of ${least}`];
  }
  if (digit !== null) return [`This is ${withArticle(digit)}`, `${percent(probabilities[digit])} sure`];
  const sure = percent(probabilities[NO_DIGIT]);
  return ["No digit that I know", `${sure} sure. The closest digit is ${closest}.`];
}

// Shows the bars and the input of one digit; of several, the boxes on the paper, and buttons.
function choose(digits, chosen) {
  const several = digits.length > 1 ? digits : [];
  const boxes = several.map(({ digit, piece }, place) => {
    const box = element("div", {}, element("span", { textContent: digit ?? "?" }));
    box.classList.toggle("chosen", place === chosen);
    const share = (length) => `${(100 * length) / canvas.width}%`;
    box.style.left = share(piece.left);
    box.style.top = share(piece.top);
    box.style.width = share(piece.width);
    box.style.height = share(piece.height);
    return box;
  });
  const buttons = several.map(({ digit }, place) => {
    const button = element("button", { type: "button", textContent: digit ?? "?" });
    button.setAttribute("aria-pressed", place === chosen);
    button.addEventListener("click", () => {
      choose(digits, place);
      byId("digits").children[place].focus();
    });
    return button;
  });
  byId("boxes").replaceChildren(...boxes);
  byId("digits").replaceChildren(...buttons);
  byId("digits").hidden = !several.length;
  showBars(digits[chosen].probabilities, digits[chosen].digit === null);
  showInput(digits[chosen].image);
}

// Says something in place of an answer.
function showInstead(words) {
  document.body.classList.toggle("refused", words !== NOTHING);
  say(...words);
  byId("boxes").replaceChildren();
  byId("digits").hidden = true;
  showBars(null);
  showInput(null);
}

function showInput(image) {
  const pixels = new ImageData(IMAGE_SIZE, IMAGE_SIZE);
  for (let i = 0; i < IMAGE_SIZE ** 2; i += 1) {
    const level = image ? image[i] : 0;
    pixels.data.set([level, level, level, 255], 4 * i);
  }
  byId("input").getContext("2d").putImageData(pixels, 0, 0);
}

for (const name of ["paste", "drop", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // otherwise the browser would open a dropped file in place of the page
    if (name !== "dragover") notify("This page reads only what is drawn on it, not files or text.");
  });
}
listen(readSoon);
