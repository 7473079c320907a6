"use strict";

// The forward pass of network.py's DeepCNN. Batch normalisation is folded into the convolutions,
// and the last linear layer is written as a convolution of one pixel.

// `model` is what `numbers` in Python writes: each layer's sizes, and the numbers of all layers, one
// after the other. Returns the same layers, each with its kernels and biases.
function layersOf(model) {
  const numbers = halves(model.numbers);
  let used = 0;
  const take = (count) => numbers.subarray(used, (used += count));
  return model.layers.map((layer) => ({
    ...layer,
    kernels: take(layer.outputs * layer.inputs * layer.size ** 2),
    biases: take(layer.outputs),
  }));
}

// Numbers in half precision (IEEE 754: 1 bit for the sign, 5 for the exponent, 10 for the
// fraction), in base64, the lower byte first.
function halves(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const numbers = new Float32Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i += 1) {
    const bits = bytes[2 * i] + 256 * bytes[2 * i + 1];
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
    numbers[i] = bits & 32768 ? -size : size;
  }
  return numbers;
}

// Returns the probabilities of the ten digits and of "no digit" for an image of 28x28 levels, 0 for
// paper to 255 for ink.
function probabilitiesOf(image, model, layers) {
  let values = topHat(image.map((level) => level / 255), model.window);
  values = values.map((value) => (value - model.mean) / model.deviation);
  let side = IMAGE_SIZE;
  layers.forEach((layer, index) => {
    ({ values, side } = convolution(values, side, layer));
    if (layer.pool) ({ values, side } = pooled(values, side, layer.outputs));
    if (index < layers.length - 1) values = values.map((value) => Math.max(value, 0));
  });
  const largest = Math.max(...values);
  const powers = Array.from(values, (logit) => Math.exp(logit - largest));
  const sum = powers.reduce((one, other) => one + other);
  return powers.map((power) => power / sum);
}

// What is brighter than its surroundings, stretched so that the brightest pixel is 1.
function topHat(values, window) {
  const eroded = maxima(values.map((value) => -value), window).map((value) => -value);
  const opened = maxima(eroded, window);
  const ink = values.map((value, place) => value - opened[place]);
  const most = Math.max(...ink) + 1e-3;
  return ink.map((value) => value / most);
}

// The maximum of the square of pixels around each; `window`, its side, is odd.
function maxima(values, window) {
  const reach = window >> 1;
  const along = (from, step, at) => from.map((_, place) => {
    let most = -Infinity;
    const low = Math.max(-reach, -at(place)), high = Math.min(reach, IMAGE_SIZE - 1 - at(place));
    for (let i = low; i <= high; i += 1) most = Math.max(most, from[place + i * step]);
    return most;
  });
  const rows = along(values, 1, (place) => place % IMAGE_SIZE);
  return along(rows, IMAGE_SIZE, (place) => Math.floor(place / IMAGE_SIZE));
}

// `values` are square feature maps, one after the other.
function convolution(values, side, { inputs, outputs, size, padding, kernels, biases }) {
  const wide = side + 2 * padding, left = wide - size + 1; // sides with margins, and of the result
  const maps = padding ? withMargins(values, side, inputs, padding) : values;
  const target = new Float32Array(outputs * left * left);
  for (let output = 0; output < outputs; output += 1) {
    const map = target.subarray(output * left * left, (output + 1) * left * left);
    map.fill(biases[output]);
    for (let input = 0; input < inputs; input += 1) {
      const from = input * wide * wide, kernel = (output * inputs + input) * size * size;
      for (let y = 0; y < left; y += 1) {
        for (let x = 0; x < left; x += 1) {
          let sum = 0;
          for (let row = 0; row < size; row += 1) {
            const place = from + (y + row) * wide + x, weight = kernel + row * size;
            for (let i = 0; i < size; i += 1) sum += kernels[weight + i] * maps[place + i];
          }
          map[y * left + x] += sum;
        }
      }
    }
  }
  return { values: target, side: left };
}

function withMargins(values, side, count, margin) {
  const wide = side + 2 * margin;
  const maps = new Float32Array(count * wide * wide);
  for (let row = 0; row < count * side; row += 1) {
    const map = Math.floor(row / side), y = row % side;
    maps.set(values.subarray(row * side, (row + 1) * side), (map * wide + y + margin) * wide + margin);
  }
  return maps;
}

// The maximum of each 2x2 values; an odd last row and column are left out.
function pooled(values, side, count) {
  const half = side >> 1;
  const target = new Float32Array(count * half * half);
  for (let place = 0; place < target.length; place += 1) {
    const x = place % half, y = ((place - x) / half) % half;
    const map = Math.floor(place / (half * half));
    const from = (map * side + 2 * y) * side + 2 * x;
    target[place] = Math.max(
      values[from], values[from + 1], values[from + side], values[from + side + 1],
    );
  }
  return { values: target, side: half };
}
