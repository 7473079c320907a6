// Ask and show. The server prepares the picture and answers; this page only draws (board.js).

const PAUSE = 120; // milliseconds the pen must rest before the drawing is sent
const PATIENCE = 400; // milliseconds after which it is sent even if the pen keeps moving
// Pixels of a picture's longer side; larger ones shrink before they are sent. In photos, digits may
// be small; as a JPEG, a large one takes a megabyte.
const LONGEST = { "image/jpeg": 3000, other: 1024 };
const BARS_TITLE = "Probability of each digit and of no digit";
const TEXT = "Only pictures are read: drop or paste one, or draw the digits.";
const ADDRESS = "Addresses are not read: save or copy the picture, then drop or paste it here.";
const CAPTIONS = {
  "picture": "your picture, in grey",
  "ink found": "ink found",
  "ink of digits": "probability of being a digit's ink",
  "middles of digits": "probability of being near a digit's centre",
  "cropped": "cropped",
  "scaled": "scaled to 20 × 20",
  "centred": "centred by mass in 28 × 28",
};
const WHOLE = { left: 0, top: 0, width: 1, height: 1 };

let opening = null; // stands for the newest file, while it is being decoded
let waiting; // the timer before a request
let unsentSince = null; // when the oldest stroke was drawn that has not been sent
let asking = null; // the request that is not answered yet

// --- Pictures from elsewhere ---

// Opens what was chosen, dropped or pasted: text, an address, or files of any type, since many
// systems do not know the type of a HEIC file.
function take(data) {
  const files = [...data.files];
  if (files.length) {
    open(files[0], files.length);
  } else {
    const text = data.getData("text/uri-list") || data.getData("text/plain");
    notify(/^\s*(data:|www\.|[a-z]+:\/\/)/i.test(text) ? ADDRESS : TEXT);
  }
}

async function open(file, count) {
  const mine = (opening = {});
  showBusy();
  const picture = await pictureOf(file).catch(() => null);
  if (mine !== opening) return; // something newer is on the paper, or being decoded
  opening = null;
  showBusy();
  if (picture) {
    remember();
    replace({ picture });
    if (count > 1) notify(`One picture at a time: this is ${file.name}, the first of ${count}.`);
  } else {
    notify("This cannot be opened. If it is a folder, drop a picture from it.");
  }
}

// Returns what board.js paints, what is sent, and where on the paper it is, in fractions of a side.
async function pictureOf(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    await file.slice(0, 1).arrayBuffer(); // fails where there is nothing to send
    // It cannot be shown, but the server says what it is and what to do.
    return { paint() {}, blob: file, placed: WHOLE };
  }
  const [width, height] = [bitmap.width, bitmap.height].map(
    (length) => length / Math.max(bitmap.width, bitmap.height),
  );
  const placed = { left: (1 - width) / 2, top: (1 - height) / 2, width, height };
  const type = (await isJpeg(file)) ? "image/jpeg" : "image/png";
  const picture = shrunk(bitmap, LONGEST[type] ?? LONGEST.other);
  bitmap.close();
  const sides = [placed.left, placed.top, width, height].map((share) => share * canvas.width);
  return {
    paint: () => paper.drawImage(picture, ...sides),
    blob: isReadable() ? await asBlob(picture, type) : file,
    placed,
  };
}

// By its first bytes, whatever its name and declared type say.
async function isJpeg(file) {
  const start = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  return start.length === 3 && [0xff, 0xd8, 0xff].every((byte, place) => start[place] === byte);
}

function shrunk(bitmap, longest) {
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const small = document.createElement("canvas");
  small.width = Math.max(1, Math.round(bitmap.width * scale));
  small.height = Math.max(1, Math.round(bitmap.height * scale));
  small.getContext("2d").drawImage(bitmap, 0, 0, small.width, small.height);
  return small;
}

const asBlob = (source, type = "image/png") =>
  new Promise((done) => source.toBlob(done, type, 0.92));

byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) take(event.target);
  event.target.value = ""; // lets the same file be chosen again
});
document.addEventListener("paste", (event) => {
  event.preventDefault();
  take(event.clipboardData);
});
document.addEventListener("drop", (event) => {
  event.preventDefault(); // otherwise the browser would open the file in place of the page
  take(event.dataTransfer);
});
document.addEventListener("dragover", (event) => event.preventDefault());

// --- Asking ---

// Tells whether an answer that will replace the one shown is on its way.
function showBusy() {
  const busy = [opening, unsentSince, asking].some((one) => one !== null);
  byId("result").setAttribute("aria-busy", busy);
}

function forget() {
  clearTimeout(waiting);
  unsentSince = null;
  asking?.abort();
  asking = null;
  showBusy();
}

function askSoon() {
  const now = performance.now();
  unsentSince ??= now;
  showBusy();
  clearTimeout(waiting);
  waiting = setTimeout(ask, Math.min(PAUSE, Math.max(0, unsentSince + PATIENCE - now)));
}

async function ask() {
  forget(); // the newest answer wins
  if (!content.picture && !isReadable()) {
    showInstead(HIDDEN);
    return;
  }
  const mine = (asking = new AbortController());
  showBusy();
  try {
    const response = await fetch("api/predict?explain=1", {
      method: "POST",
      headers: { "Content-Type": "image/png" },
      body: content.picture?.blob ?? (await asBlob(canvas)),
      signal: mine.signal,
    });
    const answer = await response.json();
    if (mine !== asking) return;
    if (response.ok) show(answer);
    else showProblem(answer.error);
  } catch {
    if (mine !== asking) return;
    showProblem("The server is not answering. Is it still running?");
  }
  asking = null;
  showBusy();
}

// --- Showing ---

function show(answer) {
  const several = answer.digits.length > 1;
  document.body.classList.toggle("refused", answer.digit === null && !several);
  say(linesOf(answer).map(signs).join("\n") || "–", ...inWords(answer));
  showBars(answer.probabilities, answer.digit === null);
  showDigits(several ? answer.digits : []);
  byId("why").hidden = answer.digits.length === 0;
  if (answer.digits.length) showWhy(answer);
}

// The digits of an answer, line by line; if there are none, what was found is a line of its own.
function linesOf({ lines, digits }) {
  const read = lines.map((line) => line.digits.map(({ place }) => digits[place]));
  return read.length ? read : [digits];
}

const signs = (digits) => digits.map((one) => one.digit ?? "?").join("");

function inWords(answer) {
  const { digits } = answer;
  if (digits.length === 0) return ["Nothing drawn", "No ink was found in the picture."];
  if (digits.length > 1) {
    return [`This is ${linesOf(answer).map(signs).join(", ")}`, certainty(digits)];
  }
  const [{ digit, closest, probabilities, score }] = digits;
  const closeness = `${percent(probabilities[closest])} sure`;
  if (digit !== null) return [`This is ${withArticle(digit)}`, closeness];
  if (score < answer.threshold) {
    return ["Not sure which digit", `The closest digit is ${closest} (${closeness}).`];
  }
  return ["No digit that I know", `${percent(score)} sure. The closest digit is ${closest}.`];
}

function certainty(digits) {
  const refused = digits.filter((one) => one.digit === null).length;
  if (refused) {
    return `${refused} of ${digits.length} pieces could not be read.`;
  }
  const least = percent(Math.min(...digits.map((one) => one.probabilities[one.digit])));
  return `${digits.length} digits, each ${/^\d/.test(least) ? "at least " : ""}${least} sure`;
}

// Says something in place of an answer.
function showInstead(words) {
  document.body.classList.toggle("refused", words !== NOTHING);
  say(...words);
  showBars(null);
  showDigits([]);
  byId("why").hidden = true;
}

const showProblem = (message) => showInstead(["!", "That did not work", message]);

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
  const placed = content.picture?.placed ?? WHOLE;
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

function chip({ digit, reason, probabilities }) {
  const refused = reason === "not sure which digit" ? "not sure" : "no digit";
  return element(
    "button",
    { type: "button", className: digit === null ? "none" : "" },
    element("b", { textContent: digit ?? "?" }),
    element("span", { textContent: digit === null ? refused : percent(probabilities[digit]) }),
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
  const { picture, lowest } = answer.occlusion;
  const caption =
    "Squares of 7 × 7 pixels are hidden in turn: without the orange ink, the network is less sure, " +
    `down to ${percent(lowest)}`;
  byId("occlusion").replaceChildren(figure(picture, caption));
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

listen((isOther) => {
  opening = null; // that file was chosen before
  if (isOther) forget();
  if (isBlank()) showInstead(isReadable() ? NOTHING : HIDDEN);
  else if (content.picture) ask();
  else askSoon();
});
