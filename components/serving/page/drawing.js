// Pixels: photo, mask and confidence map, drawn over each other.

const LARGEST_SIDE = 2048; // of what is shown; downloads have the photo's own size

// Probability 30 % to 100 %: the doubtful is bright, the sure is dark. page.css shows the same ramp.
const RAMP = [[0, [255, 209, 102]], [0.35, [216, 69, 107]], [0.7, [91, 42, 134]], [1, [11, 29, 58]]];

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

export function pngOf(base64) {
  return new Blob([bytesOf(base64)], { type: "image/png" });
}

/** The grey values of a PNG, one byte a pixel. */
export async function greys(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const context = canvasOf(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, context.canvas.width, context.canvas.height);
  return Uint8Array.from({ length: data.length / 4 }, (_, pixel) => data[4 * pixel]);
}

export function canvasOf(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** A canvas that shows each value in its colour of a table of 256 times red, green, blue, alpha. */
export function painted(values, width, height, table) {
  const canvas = canvasOf(width, height);
  const image = new ImageData(width, height);
  const colours = new Uint32Array(table.buffer);
  const pixels = new Uint32Array(image.data.buffer);
  for (let pixel = 0; pixel < values.length; pixel++) pixels[pixel] = colours[values[pixel]];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export function classTable(classes, shown) {
  const table = new Uint8ClampedArray(4 * 256);
  classes.forEach(({ name, colour }, label) => {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    table.set([red, green, blue, shown.has(name) ? 255 : 0], 4 * label);
  });
  return table;
}

export function confidenceTable() {
  const table = new Uint8ClampedArray(4 * 256);
  for (let value = 0; value < 256; value++) {
    const at = Math.max(0, (value / 255 - 0.3) / 0.7);
    const next = Math.max(1, RAMP.findIndex(([end]) => end >= at));
    const [[from, low], [to, high]] = [RAMP[next - 1], RAMP[next]];
    const part = (at - from) / (to - from);
    table.set([...low.map((channel, i) => channel + part * (high[i] - channel)), 255], 4 * value);
  }
  return table;
}

/** Draws a photo and an overlay into a canvas, at its own size or as large as a screen needs. */
export function compose(canvas, photo, overlay, opacity, ownSize) {
  const scale = ownSize ? 1 : Math.min(1, LARGEST_SIDE / Math.max(photo.width, photo.height));
  canvas.width = Math.max(1, Math.round(photo.width * scale));
  canvas.height = Math.max(1, Math.round(photo.height * scale));
  const context = canvas.getContext("2d");
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = false;
  context.drawImage(overlay, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}

/** Fills a small square canvas with the middle of a picture. */
export function thumbnail(canvas, picture) {
  const side = Math.min(picture.width, picture.height);
  const left = (picture.width - side) / 2;
  const top = (picture.height - side) / 2;
  canvas.getContext("2d").drawImage(picture, left, top, side, side, 0, 0, canvas.width, canvas.height);
}
