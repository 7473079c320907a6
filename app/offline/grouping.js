"use strict";

// Strokes -> digits, numbers and lines of them: pieces that touch or stand above each other are one
// digit; neighbours are joined where the network sees one digit in both, and not a digit in each.

const SPECK = 0.04; // of all ink: a low piece with less is an accidental touch of the paper
const LOW = 0.5; // of the highest piece
const OVERLAP = 0.5; // of the narrower piece: pieces above each other belong to one digit
const ABOVE = 0.35; // of the height: they stand no further apart than this
const GAP = 0.25; // of the height: pieces further apart are never joined
const BESIDE = 0.35; // of the lower digit: as much of it is beside its neighbour in the line

const joined = (one, other) => pieceOf([...one.lines, ...other.lines]);

function pieceOf(lines) {
  const box = boxOf(lines);
  const inkOf = ({ from, to, width }) => width ** 2 + width * Math.hypot(to.x - from.x, to.y - from.y);
  const ink = lines.reduce((sum, line) => sum + inkOf(line), 0);
  return { lines, ...box, ink, width: box.right - box.left, height: box.bottom - box.top };
}

// Joins pieces for which `belong` holds until none are left to join.
function merged(pieces, belong) {
  const left = [...pieces], done = [];
  while (left.length) {
    let piece = left.pop();
    for (let i = 0; i < left.length; i += 1) {
      if (!belong(piece, left[i])) continue;
      piece = joined(piece, left.splice(i, 1)[0]);
      i = -1; // it is larger now
    }
    done.push(piece);
  }
  return done;
}

// Lines that go on where the one before ended are one stroke.
function strokesOf(lines) {
  const strokes = [];
  for (const line of lines) {
    const last = strokes.at(-1)?.at(-1);
    const goesOn = last && last.to.x === line.from.x && last.to.y === line.from.y;
    if (goesOn) strokes.at(-1).push(line);
    else strokes.push([line]);
  }
  return strokes.map(pieceOf);
}

// How far apart two pieces are along an axis; negative where they overlap.
const across = (one, other) => Math.max(one.left, other.left) - Math.min(one.right, other.right);
const down = (one, other) => Math.max(one.top, other.top) - Math.min(one.bottom, other.bottom);

function touch(one, other) {
  if (across(one, other) > 0 || down(one, other) > 0) return false;
  return one.lines.some((a) => other.lines.some((b) => 2 * distance(a, b) <= a.width + b.width));
}

// Between two lines: 0 where they cross, otherwise from an end of one to the other.
function distance(a, b) {
  const side = (p, q, r) => (q.x - p.x) * (r.y - p.y) - (q.y - p.y) * (r.x - p.x);
  const apart = (p, q, r, s) => side(p, q, r) * side(p, q, s) < 0;
  if (apart(a.from, a.to, b.from, b.to) && apart(b.from, b.to, a.from, a.to)) return 0;
  const to = (point, { from, to: end }) => {
    const [x, y] = [end.x - from.x, end.y - from.y];
    const share = ((point.x - from.x) * x + (point.y - from.y) * y) / (x * x + y * y || 1);
    const near = Math.min(Math.max(share, 0), 1);
    return Math.hypot(point.x - from.x - near * x, point.y - from.y - near * y);
  };
  return Math.min(to(a.from, b), to(a.to, b), to(b.from, a), to(b.to, a));
}

// Returns the pieces of what is drawn, without specks.
function piecesOf(lines) {
  const pieces = merged(strokesOf(lines), touch);
  const ink = pieces.reduce((sum, piece) => sum + piece.ink, 0);
  const height = Math.max(...pieces.map((piece) => piece.height));
  return pieces.filter((piece) => piece.ink >= SPECK * ink || piece.height >= LOW * height);
}

// Returns lines of digits in reading order; `look` returns what the network says about a piece.
function readingOf(lines, look) {
  const pieces = piecesOf(lines);
  if (!pieces.length) return [];
  const whole = look(pieces.reduce((one, other) => joined(one, other)));
  if (pieces.length === 1) return [[whole]];
  const height = Math.max(...pieces.map((piece) => piece.height));
  const stacked = merged(pieces, (one, other) =>
    -across(one, other) >= OVERLAP * Math.min(one.width, other.width) && down(one, other) < ABOVE * height &&
    joined(one, other).height < 1.5 * height);
  const digits = joinedByScore(stacked.map(look), look, height);
  const refused = digits.filter((one) => one.digit === null).length;
  // One digit may be in two pieces; three pieces that are each a digit are not one digit.
  const isOne = whole.digit !== null && (digits.length < 3 || refused > 0);
  return isOne || 2 * refused > digits.length ? [[whole]] : inLines(digits);
}

function joinedByScore(digits, look, height) {
  const sure = (one) => one.digit !== null;
  const sorted = [...digits].sort((one, other) => one.piece.left - other.piece.left);
  return sorted.reduce((done, one) => {
    const place = done.findIndex(({ piece }) => across(piece, one.piece) < GAP * height &&
      down(piece, one.piece) < GAP * height);
    if (place < 0 || (sure(one) && sure(done[place]))) return [...done, one];
    const both = look(joined(done[place].piece, one.piece));
    return sure(both) ? done.with(place, both) : [...done, one];
  }, []);
}

function inLines(digits) {
  const lines = [];
  for (const one of [...digits].sort((a, b) => a.piece.left - b.piece.left)) {
    const beside = (line) => {
      const { piece } = line.at(-1);
      return -down(piece, one.piece) / Math.min(piece.height, one.piece.height);
    };
    const best = lines.reduce((a, b) => (a && beside(a) >= beside(b) ? a : b), null);
    if (best && beside(best) > BESIDE) best.push(one);
    else lines.push([one]);
  }
  const middle = (line) => line.reduce((sum, { piece }) => sum + piece.top + piece.bottom, 0) / line.length;
  return lines.sort((one, other) => middle(one) - middle(other));
}
