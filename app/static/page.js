// Draw, ask, show. The server prepares the picture and answers; this page only draws.

const PAUSE = 120; // milliseconds the pen must rest before the drawing is sent
const PATIENCE = 400; // milliseconds after which it is sent even if the pen keeps moving
const QUIET = 700; // milliseconds an answer must stand before a screen reader reads it out
const LONGEST = 1024; // pixels of a photo's longer side; larger ones shrink before they are sent
const STEP = 10; // pixels by which an arrow key moves the pen
const NO_DIGIT = 10; // the place of "no digit" among a model's probabilities, where it has one
const BARS_TITLE = "Probability of each digit, and of none";
const CAPTIONS = {
  "picture": "your picture, in grey",
  "ink found": "ink found",
  "cropped": "cropped",
  "scaled": "scaled to 20 × 20",
  "centred": "centred by mass in 28 × 28",
};

const byId = (id) => document.getElementById(id);
const canvas = byId("canvas");
const paper = canvas.getContext("2d");

let upload = null; // the uploaded picture, as it is sent; null if the picture is a drawing
let placed; // where on the canvas the picture that is sent stands, in shares of its sides
let waiting, asking, speaking; // the timer before a request, the request, the timer before reading
let unsentSince = null; // when the oldest stroke was drawn that has not been sent
const pen = { x: canvas.width / 2, y: canvas.height / 2, down: false };

// --- Drawing ---

function clear() {
  upload = null;
  placed = { left: 0, top: 0, width: 1, height: 1 };
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  clearTimeout(waiting);
  unsentSince = null;
  asking?.abort();
  byId("hint").hidden = false;
  showNothing();
}

function draw(from, to) {
  if (upload) clear();
  byId("hint").hidden = true;
  paper.strokeStyle = "#111";
  paper.lineWidth = byId("pen").value;
  paper.lineCap = paper.lineJoin = "round";
  paper.beginPath();
  paper.moveTo(from.x, from.y);
  paper.lineTo(to.x + 0.01, to.y); // since browsers draw no line of length 0
  paper.stroke();
  askSoon();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) * canvas.width) / box.width,
    y: ((event.clientY - box.top) * canvas.height) / box.height,
  };
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  let last = place(event);
  draw(last, last);
  const move = (next) => {
    if (next.pointerId !== event.pointerId) return;
    // A fast pen moves several times within one frame.
    for (const part of next.getCoalescedEvents?.() ?? [next]) {
      const point = place(part);
      draw(last, point);
      last = point;
    }
  };
  const stop = (end) => {
    if (end.pointerId !== event.pointerId) return;
    canvas.removeEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) canvas.removeEventListener(name, stop);
  };
  canvas.addEventListener("pointermove", move);
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, stop);
});

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const within = (value) => Math.min(Math.max(value, 0), canvas.width);
  if (event.key in ARROWS) {
    const from = { x: pen.x, y: pen.y };
    pen.x = within(pen.x + STEP * ARROWS[event.key][0]);
    pen.y = within(pen.y + STEP * ARROWS[event.key][1]);
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
  showCursor(true);
});

function showCursor(visible) {
  const cursor = byId("cursor");
  cursor.hidden = !visible;
  cursor.classList.toggle("down", pen.down);
  cursor.style.left = `${(100 * pen.x) / canvas.width}%`;
  cursor.style.top = `${(100 * pen.y) / canvas.height}%`;
}

canvas.addEventListener("blur", () => {
  pen.down = false;
  showCursor(false);
});
byId("clear").addEventListener("click", clear);

// --- Pictures from elsewhere ---

async function open(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    clear();
    byId("hint").hidden = true;
    upload = file; // not shown here, but the server says what it is and what to do
    ask();
    return;
  }
  clear();
  upload = await asBlob(shrunk(picture));
  const longest = Math.max(picture.width, picture.height);
  const [width, height] = [picture.width / longest, picture.height / longest];
  placed = { left: (1 - width) / 2, top: (1 - height) / 2, width, height };
  const side = canvas.width;
  paper.drawImage(picture, side * placed.left, side * placed.top, side * width, side * height);
  byId("hint").hidden = true;
  ask();
}

function shrunk(picture) {
  const scale = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
  const small = document.createElement("canvas");
  small.width = Math.max(1, Math.round(picture.width * scale));
  small.height = Math.max(1, Math.round(picture.height * scale));
  small.getContext("2d").drawImage(picture, 0, 0, small.width, small.height);
  return small;
}

const asBlob = (source) => new Promise((done) => source.toBlob(done, "image/png"));

byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) open(event.target.files[0]);
  event.target.value = ""; // lets the same file be chosen again
});
const take = (event, data) => {
  const file = data?.files?.[0]; // of any type: many systems do not know that of a HEIC
  if (!file) return;
  event.preventDefault();
  open(file);
};
document.addEventListener("paste", (event) => take(event, event.clipboardData));
document.addEventListener("drop", (event) => {
  event.preventDefault(); // otherwise the browser would open the file in place of the page
  take(event, event.dataTransfer);
});
document.addEventListener("dragover", (event) => event.preventDefault());

// --- Asking ---

function askSoon() {
  const now = performance.now();
  unsentSince ??= now;
  clearTimeout(waiting);
  waiting = setTimeout(ask, Math.min(PAUSE, Math.max(0, unsentSince + PATIENCE - now)));
}

async function ask() {
  unsentSince = null;
  asking?.abort(); // the newest answer wins
  const mine = (asking = new AbortController());
  try {
    const response = await fetch("api/predict?explain=1", {
      method: "POST",
      headers: { "Content-Type": "image/png" },
      body: upload ?? (await asBlob(canvas)),
      signal: mine.signal,
    });
    const answer = await response.json();
    if (mine !== asking || mine.signal.aborted) return;
    if (response.ok) show(answer);
    else showProblem(answer.error);
  } catch (error) {
    if (mine === asking && !mine.signal.aborted) {
      showProblem("The server does not answer. Is it still running?");
    }
  }
}

// --- Showing ---

const withArticle = (digit) => `${digit === 8 ? "an" : "a"} ${digit}`;
const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function show(answer) {
  const several = answer.digits.length > 1;
  document.body.classList.toggle("refused", answer.digit === null && !several);
  say(signs(answer.digits) || "–", ...inWords(answer));
  showBars(answer.probabilities, answer.digit === null);
  showDigits(several ? answer.digits : []);
  byId("why").hidden = answer.digits.length === 0;
  if (answer.digits.length) showWhy(answer);
}

const signs = (digits) => digits.map((one) => one.digit ?? "?").join("");

function inWords({ digits }) {
  if (digits.length === 0) return ["Nothing drawn", "No ink was found in the picture."];
  if (digits.length > 1) return [`This is ${signs(digits)}`, certainty(digits)];
  const [{ digit, closest, probabilities, score }] = digits;
  if (digit !== null) return [`This is ${withArticle(digit)}`, `${percent(probabilities[digit])} sure`];
  return ["No digit that I know", `${percent(score)} sure. The closest digit is ${closest}.`];
}

function certainty(digits) {
  const refused = digits.filter((one) => one.digit === null).length;
  if (refused) {
    const are = refused === 1 ? "is no digit" : "are no digits";
    return `${refused} of ${digits.length} pieces ${are} that I know.`;
  }
  const least = Math.min(...digits.map((one) => one.probabilities[one.digit]));
  return `${digits.length} digits, each at least ${percent(least)} sure`;
}

function say(sign, verdict, detail) {
  byId("digit").textContent = sign;
  byId("digit").style.setProperty("--length", String(sign).length);
  byId("verdict").textContent = verdict;
  byId("detail").textContent = detail;
  clearTimeout(speaking);
  speaking = setTimeout(() => (byId("announcement").textContent = `${verdict}. ${detail}`), QUIET);
}

function showNothing() {
  document.body.classList.remove("refused");
  say("–", "Nothing drawn yet", "The answer appears here.");
  showBars(null);
  showDigits([]);
  byId("why").hidden = true;
}

function showProblem(message) {
  showNothing();
  document.body.classList.add("refused");
  say("!", "That did not work", message);
}

// A box round each digit of a number, and buttons that choose the one whose bars are shown.
function showDigits(digits) {
  const boxes = digits.map((one) => element("div", {}, element("span", { textContent: one.digit ?? "?" })));
  const buttons = digits.map(chip);
  const choose = (chosen) => {
    for (const place of digits.keys()) {
      boxes[place].classList.toggle("chosen", place === chosen);
      buttons[place].setAttribute("aria-pressed", place === chosen);
    }
    byId("bars-title").textContent = `Piece ${chosen + 1} of ${digits.length}: ${BARS_TITLE.toLowerCase()}`;
    showBars(digits[chosen].probabilities, digits[chosen].digit === null);
  };
  for (const [place, { box }] of digits.entries()) {
    buttons[place].addEventListener("click", () => choose(place));
    const [left, top, right, bottom] = box;
    const { style } = boxes[place];
    style.left = `${100 * (placed.left + left * placed.width)}%`;
    style.top = `${100 * (placed.top + top * placed.height)}%`;
    style.width = `${100 * (right - left) * placed.width}%`;
    style.height = `${100 * (bottom - top) * placed.height}%`;
  }
  byId("boxes").replaceChildren(...boxes);
  byId("digits").replaceChildren(...buttons);
  byId("digits").hidden = digits.length === 0;
  byId("bars-title").textContent = BARS_TITLE;
  if (digits.length) choose(0);
}

function chip({ digit, probabilities }) {
  return element(
    "button",
    { type: "button", className: digit === null ? "none" : "" },
    element("b", { textContent: digit ?? "?" }),
    element("span", { textContent: digit === null ? "no digit" : percent(probabilities[digit]) }),
  );
}

function showBars(probabilities, refused = false) {
  byId("bars").classList.toggle("refused", refused);
  const best = probabilities ? Math.max(...probabilities) : null;
  for (const [place, row] of [...byId("bars").children].entries()) {
    const share = probabilities ? probabilities[place] : 0;
    row.classList.toggle("first", share === best);
    row.querySelector(".bar").style.setProperty("--share", share);
    row.querySelector(".value").textContent = probabilities ? percent(share) : "–";
  }
}

function showWhy(answer) {
  byId("steps").replaceChildren(
    ...answer.steps.map((step) => figure(step.picture, CAPTIONS[step.name] ?? step.name)),
  );
  const ofOne = answer.digits.length === 1;
  for (const part of document.querySelectorAll("#why .of-one")) part.hidden = !ofOne;
  if (ofOne) showWhyOne(answer);
}

function showWhyOne(answer) {
  byId("saliency").replaceChildren(
    figure(answer.saliency, "orange: the pixels that affect it most", `saliency of ${answer.model.name}`),
  );
  byId("neighbours").replaceChildren(
    ...answer.neighbours.map((one) => figure(one.picture, withArticle(one.label))),
  );
  byId("votes").replaceChildren(
    ...answer.models.map((vote) =>
      element(
        "tr",
        { className: vote.digit === answer.digit ? "" : "other" },
        element("td", { textContent: vote.name }),
        element("td", { textContent: vote.digit ?? "none" }),
        element("td", { textContent: percent(vote.probabilities[vote.digit ?? NO_DIGIT]) }),
      ),
    ),
  );
}

function figure(source, caption, alt = caption) {
  const picture = element("img", { src: source, alt });
  const text = element("figcaption", { textContent: caption });
  return element("li", {}, element("figure", {}, picture, text));
}

for (let place = 0; place <= NO_DIGIT; place += 1) {
  const none = place === NO_DIGIT;
  const label = element("span", { className: "label", textContent: none ? "no digit" : place });
  const track = element("span", { className: "track" }, element("span", { className: "bar" }));
  const value = element("span", { className: "value" });
  byId("bars").append(element("li", { className: none ? "none" : "" }, label, track, value));
}
clear();
