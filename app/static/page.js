// Ask and show. The server prepares the picture and answers; this page only draws (board.js).

const PAUSE = 120; // milliseconds the pen must rest before the drawing is sent
const PATIENCE = 400; // milliseconds after which it is sent even if the pen keeps moving
const LONGEST = 1024; // pixels of a photo's longer side; larger ones shrink before they are sent
const BARS_TITLE = "Probability of each digit, and of none";
const CAPTIONS = {
  "picture": "your picture, in grey",
  "ink found": "ink found",
  "cropped": "cropped",
  "scaled": "scaled to 20 × 20",
  "centred": "centred by mass in 28 × 28",
};

let upload = null; // the uploaded picture, as it is sent; null if the picture is a drawing
let placed; // where on the canvas the picture that is sent stands, in shares of its sides
let waiting, asking; // the timer before a request, and the request
let unsentSince = null; // when the oldest stroke was drawn that has not been sent

// --- Drawing ---

function clear() {
  upload = null;
  placed = { left: 0, top: 0, width: 1, height: 1 };
  blank();
  clearTimeout(waiting);
  unsentSince = null;
  asking?.abort();
  setBusy(false);
  showNothing();
}

function draw(from, to) {
  if (upload) clear();
  line(from, to);
  askSoon();
}

listen(draw, clear);

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

// Whether an answer is on its way that will replace the one shown.
const setBusy = (busy) => byId("result").setAttribute("aria-busy", busy);

function askSoon() {
  setBusy(true);
  const now = performance.now();
  unsentSince ??= now;
  clearTimeout(waiting);
  waiting = setTimeout(ask, Math.min(PAUSE, Math.max(0, unsentSince + PATIENCE - now)));
}

async function ask() {
  setBusy(true);
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
  if (mine === asking && !mine.signal.aborted) setBusy(unsentSince !== null);
}

// --- Showing ---

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

clear();
