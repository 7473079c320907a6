"use strict";

// A drawing -> the 28x28 image that the network takes. The steps, the numbers and the names are
// those of study/reading/ in Python, where they are explained. What a photo needs besides
// (uneven light, textured paper, other sizes) is left out: a drawing is dark ink on white paper.

const CANVAS_SIZE = 448; // twice WORK_SIZE of Python, so that shrinking is a mean of 2x2 pixels
const DIGIT_SIZE = 20, IMAGE_SIZE = 28;
const LEAST_CONTRAST = 10, SPECK = 0.04, PALE = 0.7;
const BLUR = 2 / 3, REACH = 3; // what Python computes for pictures of this size
const MARGIN = 4; // pixels of paper, more than the blur reaches
const FINE = 4, EDGE = 0.4, SOFTNESS = 0.3, STROKE_WIDTHS = [2, 5];

// Grey levels from 0 to 255, or shares of ink from 0 to 1, row by row.
function picture(width, height, data = new Float32Array(width * height)) {
  return { width, height, data };
}

// Returns a picture of 28x28 pixels, 0 for paper to 255 for ink, or null if nothing is drawn.
// `rgba` are the pixels of a canvas of CANVAS_SIZE, all of them opaque and grey.
function prepare(rgba) {
  const grey = shrunk(rgba);
  const drawn = boxOf(grey, (level) => level < 255, MARGIN); // most of the canvas is empty
  const ink = drawn && withoutSpecks(inkOf(blurred(cropped(grey, drawn), BLUR)));
  const box = ink && boxOf(ink, (share) => share > 0.1);
  if (!box) return null;
  const image = centred(scaled(cropped(ink, box)));
  return picture(IMAGE_SIZE, IMAGE_SIZE, image.data.map((share) => roundToEven(255 * share)));
}

// --- Where the ink is ---

// As Pillow does it: first along the rows, then along the columns, each rounded to whole levels.
function shrunk(rgba) {
  const size = CANVAS_SIZE / 2;
  const small = picture(size, size);
  const inRow = (place) => (rgba[4 * place] + rgba[4 * place + 4] + 1) >> 1;
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      const place = 2 * y * CANVAS_SIZE + 2 * x;
      small.data[y * size + x] = (inRow(place) + inRow(place + CANVAS_SIZE) + 1) >> 1;
    }
  }
  return small;
}

function inkOf(grey) {
  const darkness = grey.data.map((level) => 255 - level);
  const most = darkness.reduce((one, other) => Math.max(one, other));
  const strong = darkness.filter((value) => value > Math.max(most / 2, LEAST_CONTRAST)).sort();
  const half = strong.length >> 1;
  const median = strong.length % 2 ? strong[half] : (strong[half - 1] + strong[half]) / 2;
  const share = (value) => (strong.length ? Math.min(value / median, 1) : 0);
  return picture(grey.width, grey.height, darkness.map(share));
}

// Drops separate pieces with little of the ink, such as a touch of the paper by accident.
function withoutSpecks(ink) {
  const dark = ink.data.map((share) => (share > 0.3 ? 1 : 0));
  const near = maximumFilter(picture(ink.width, ink.height, dark), 2 * REACH + 1);
  const all = ink.data.reduce((sum, share) => sum + share, 0);
  const kept = picture(ink.width, ink.height);
  for (const piece of piecesOf(near)) {
    const mass = piece.reduce((sum, place) => sum + ink.data[place], 0);
    const isDirt = mass < SPECK * all || !piece.some((place) => ink.data[place] >= PALE);
    if (!isDirt) for (const place of piece) kept.data[place] = ink.data[place];
  }
  return kept;
}

// The connected pieces of what is not 0, each a list of places in `data`.
function piecesOf({ width, height, data }) {
  const pieces = [];
  const open = data.map((value) => (value ? 1 : 0));
  for (let start = 0; start < data.length; start += 1) {
    const piece = [];
    const add = (place) => {
      if (open[place]) piece.push(place);
      open[place] = 0;
    };
    add(start);
    for (let i = 0; i < piece.length; i += 1) { // the piece grows meanwhile
      const place = piece[i], x = place % width;
      if (x > 0) add(place - 1);
      if (x < width - 1) add(place + 1);
      if (place >= width) add(place - width);
      if (place < width * (height - 1)) add(place + width);
    }
    if (piece.length) pieces.push(piece);
  }
  return pieces;
}

// The smallest box around the values that count, with a margin where there is room; null if none.
function boxOf({ width, height, data }, counts, margin = 0) {
  let left = Infinity, top = Infinity, right = -1, bottom = -1;
  data.forEach((value, place) => {
    if (!counts(value)) return;
    const x = place % width, y = (place - x) / width;
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x);
    bottom = Math.max(bottom, y);
  });
  if (right < 0) return null;
  left = Math.max(left - margin, 0);
  top = Math.max(top - margin, 0);
  right = Math.min(right + margin, width - 1);
  bottom = Math.min(bottom + margin, height - 1);
  return { left, top, width: right - left + 1, height: bottom - top + 1 };
}

// --- The form of MNIST's digits ---

function scaled(ink) {
  const factor = DIGIT_SIZE / Math.max(ink.width, ink.height);
  const [width, height] = [ink.width, ink.height].map((n) => Math.max(1, roundToEven(n * factor)));
  if (factor >= 1) {
    const { data } = resized(ink, width, height, lanczos);
    return picture(width, height, data.map((share) => Math.min(Math.max(share, 0), 1)));
  }
  const fine = padded(resized(ink, FINE * width, FINE * height, bicubic), FINE);
  return reduced(blurred(withStrokeWidth(fine), SOFTNESS * FINE), FINE);
}

// Makes the ink black and white, and its strokes as wide as MNIST's.
function withStrokeWidth({ width, height, data }) {
  const edge = Math.min(EDGE, data.reduce((one, other) => Math.max(one, other)) / 2);
  const covered = data.map((share) => (share > edge ? 1 : 0));
  const within = distances(picture(width, height, covered));
  const outside = distances(picture(width, height, covered.map((value) => 1 - value)));
  const depth = within.map((distance, place) => distance - outside[place]);
  let sum = 0, count = 0;
  depth.forEach((value) => {
    if (value > 0) [sum, count] = [sum + value, count + 1];
  });
  const stroke = (4 * sum) / count / FINE;
  const wished = Math.min(Math.max(stroke, STROKE_WIDTHS[0]), STROKE_WIDTHS[1]);
  const more = (FINE * (wished - stroke)) / 2;
  const share = (value) => Math.min(Math.max(value + more + 0.5, 0), 1);
  return picture(width, height, depth.map(share));
}

// From each pixel that is 1 to the nearest that is 0: first within its column, then over columns.
function distances({ width, height, data }) {
  const inColumn = data.map((value) => (value ? Infinity : 0));
  for (let place = width; place < data.length; place += 1) {
    inColumn[place] = Math.min(inColumn[place], inColumn[place - width] + 1);
  }
  for (let place = data.length - width - 1; place >= 0; place -= 1) {
    inColumn[place] = Math.min(inColumn[place], inColumn[place + width] + 1);
  }
  return data.map((value, place) => {
    const x = place % width;
    let least = inColumn[place] ** 2;
    for (let step = 1; step * step < least && step < width; step += 1) {
      const left = x >= step ? inColumn[place - step] : Infinity;
      const right = x + step < width ? inColumn[place + step] : Infinity;
      least = Math.min(least, step * step + Math.min(left, right) ** 2);
    }
    return Math.sqrt(least);
  });
}

// Moves the centre of mass to the middle of 28x28, as far as there is room.
function centred(ink) {
  let mass = 0, massX = 0, massY = 0;
  ink.data.forEach((share, place) => {
    const x = place % ink.width, y = (place - x) / ink.width;
    mass += share;
    massX += x * share;
    massY += y * share;
  });
  const corner = (centre, size) => {
    const wished = roundToEven((IMAGE_SIZE - 1) / 2 - centre);
    return Math.min(Math.max(wished, 0), IMAGE_SIZE - size);
  };
  const image = picture(IMAGE_SIZE, IMAGE_SIZE);
  paste(ink, image, corner(massX / mass, ink.width), corner(massY / mass, ink.height));
  return image;
}

// --- Pictures in general: what SciPy and Pillow do in Python ---

// Halves go to the even neighbour, as in Python.
function roundToEven(value) {
  const below = Math.floor(value);
  if (value - below === 0.5) return below + (below % 2 ? 1 : 0);
  return Math.round(value);
}

function cropped(source, { left, top, width, height }) {
  const target = picture(width, height);
  paste(source, target, -left, -top);
  return target;
}

function padded(source, margin) {
  const target = picture(source.width + 2 * margin, source.height + 2 * margin);
  paste(source, target, margin, margin);
  return target;
}

// Writes `source` into `target`, its upper left corner at (left, top); what is outside is dropped.
function paste(source, target, left, top) {
  for (let y = Math.max(0, top); y < Math.min(target.height, top + source.height); y += 1) {
    for (let x = Math.max(0, left); x < Math.min(target.width, left + source.width); x += 1) {
      target.data[y * target.width + x] = source.data[(y - top) * source.width + x - left];
    }
  }
}

function transposed({ width, height, data }) {
  const turned = picture(height, width);
  data.forEach((value, place) => {
    const x = place % width;
    turned.data[x * height + (place - x) / width] = value;
  });
  return turned;
}

// A Gaussian blur; the picture is mirrored at its edges.
function blurred(source, sigma) {
  const radius = Math.floor(4 * sigma + 0.5);
  const weights = [];
  for (let i = -radius; i <= radius; i += 1) weights.push(Math.exp(-0.5 * (i / sigma) ** 2));
  const sum = weights.reduce((one, other) => one + other);
  const alongRows = ({ width, height, data }) => {
    const mirror = (x) => (x < 0 ? -1 - x : x >= width ? 2 * width - 1 - x : x);
    const target = picture(width, height);
    for (let place = 0; place < data.length; place += 1) {
      const x = place % width;
      let value = 0;
      for (let i = 0; i < weights.length; i += 1) {
        value += weights[i] * data[place - x + mirror(x + i - radius)];
      }
      target.data[place] = value / sum;
    }
    return target;
  };
  return alongRows(transposed(alongRows(transposed(source)))); // SciPy, too, begins with columns
}

// The maximum of the square of pixels around each; `window`, its side, is odd.
function maximumFilter(source, window) {
  const margin = window >> 1;
  const alongRows = ({ width, height, data }) => {
    const target = picture(width, height);
    for (let place = 0; place < data.length; place += 1) {
      const x = place % width;
      const end = Math.min(width - 1, x + margin) - x + place;
      let most = -Infinity;
      for (let i = place - Math.min(x, margin); i <= end; i += 1) most = Math.max(most, data[i]);
      target.data[place] = most;
    }
    return target;
  };
  return transposed(alongRows(transposed(alongRows(source))));
}

// Pillow's kernels for resizing: how far they reach, and their value at a distance.
const bicubic = {
  reach: 2,
  at(x) {
    const d = Math.abs(x);
    if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
  },
};
const lanczos = {
  reach: 3,
  at(x) {
    const sinc = (t) => (t === 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t));
    return Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
  },
};

function resized(source, width, height, kernel) {
  const alongRows = (from, length) => {
    const scale = from.width / length, stretch = Math.max(scale, 1);
    const target = picture(length, from.height);
    for (let x = 0; x < length; x += 1) {
      const centre = (x + 0.5) * scale, reach = kernel.reach * stretch;
      const first = Math.max(0, Math.floor(centre - reach + 0.5));
      const end = Math.min(from.width, Math.floor(centre + reach + 0.5));
      const weights = [];
      for (let i = first; i < end; i += 1) weights.push(kernel.at((i - centre + 0.5) / stretch));
      const sum = weights.reduce((one, other) => one + other);
      for (let y = 0; y < from.height; y += 1) {
        const value = (total, weight, i) => total + weight * from.data[y * from.width + first + i];
        target.data[y * length + x] = weights.reduce(value, 0) / sum;
      }
    }
    return target;
  };
  return transposed(alongRows(transposed(alongRows(source, width)), height));
}

// The mean of each square of pixels.
function reduced(source, factor) {
  const target = picture(source.width / factor, source.height / factor);
  source.data.forEach((value, place) => {
    const x = place % source.width, y = (place - x) / source.width;
    target.data[Math.floor(y / factor) * target.width + Math.floor(x / factor)] += value;
  });
  return picture(target.width, target.height, target.data.map((sum) => sum / factor ** 2));
}
