// The page: photos come in, the server is asked about each, one is shown.

import { bytesOf, canvasOf, classTable, compose, confidenceTable, greys, painted, pngOf, thumbnail } from "./drawing.js";

const POLL_MILLISECONDS = 2000;
const TRIES_WHEN_BUSY = 6;
const AT_ONCE = 2;

const $ = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

const photos = []; // {file, source, answer, problem, waiting, button}; source is what the browser can show
const hidden = new Set(); // names of classes that are switched off
let known = null; // what /api/versions said
let current = null; // the photo that is shown
let shown = null; // its pixels: {photo, labels, confidence, overlay}
let round = 0; // grows when the version changes, so that late answers of another version are dropped

// ---- photos in -------------------------------------------------------------------------------------------------

function add(files) {
  const added = [...files].map((file) => ({ file, source: file, answer: null, problem: null, waiting: true, button: null }));
  for (const photo of added) {
    photos.push(photo);
    photo.button = thumbnailButton(photo);
  }
  $("drop").classList.toggle("filled", photos.length > 0);
  $("work").hidden = photos.length === 0;
  if (added.length) {
    select(added[0]);
    askAll(added);
  }
}

function thumbnailButton(photo) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", photo.file.name);
  button.append(canvasOf(128, 128));
  button.addEventListener("click", () => select(photo));
  const item = document.createElement("li");
  item.append(button);
  $("photos").append(item);
  return button;
}

$("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
document.addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  add(event.dataTransfer?.files ?? []);
});

// ---- the server ------------------------------------------------------------------------------------------------

async function askAll(waiting) {
  const queue = [...waiting];
  const asked = round;
  const work = async () => {
    while (queue.length && asked === round) await ask(queue.shift());
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function ask(photo) {
  const asked = round;
  const changes = { waiting: false };
  try {
    changes.answer = await answerFor(photo);
    changes.problem = null;
  } catch (error) {
    changes.answer = null;
    changes.problem = error.message;
  }
  if (asked !== round) return;
  Object.assign(photo, changes);
  flag(photo);
  if (photo.problem) $("said").textContent = `${photo.file.name}: ${photo.problem}`;
  if (photo === current) await show();
}

async function answerFor(photo) {
  if (known && photo.file.size > known.max_request_bytes) {
    throw new Error(`the file is larger than ${Math.floor(known.max_request_bytes / 2 ** 20)} MB; shrink the photo`);
  }
  const size = await sizeInBrowser(photo);
  let answer = await segment(photo, size === null);
  if (size && (size.width !== answer.width || size.height !== answer.height)) answer = await segment(photo, true);
  if (answer.photo_jpeg) {
    photo.source = new Blob([bytesOf(answer.photo_jpeg)], { type: "image/jpeg" });
    await sizeInBrowser(photo);
  }
  return answer;
}

/** Draws the thumbnail on the way; null if the browser cannot show the file. */
async function sizeInBrowser(photo) {
  try {
    const bitmap = await createImageBitmap(photo.source);
    const { width, height } = bitmap;
    thumbnail(photo.button.querySelector("canvas"), bitmap);
    bitmap.close();
    return { width, height };
  } catch {
    return null; // The server reads formats that browsers do not; it is asked for a picture, too.
  }
}

async function segment(photo, withPhoto) {
  const query = new URLSearchParams();
  if ($("version").value) query.set("version", $("version").value);
  if (withPhoto) query.set("photo", "true");
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(`/api/segment?${query}`, { method: "POST", body: photo.file });
    } catch {
      throw new Error("the server does not answer; is segpipe serve still running?");
    }
    const answer = await response.json();
    if (response.ok) return answer;
    const wait = Number(response.headers.get("Retry-After"));
    if (!wait || attempt === TRIES_WHEN_BUSY) throw new Error(answer.error);
    await new Promise((resume) => setTimeout(resume, 1000 * wait));
  }
}

async function poll() {
  let state = "";
  try {
    const before = known?.live;
    const response = await fetch("/api/versions");
    known = await response.json();
    listVersions();
    if (known.live === null) {
      state = known.versions.length ? "The model is being loaded." : "No model is pushed yet. segpipe run pushes one.";
      const failed = known.versions.find((version) => version.error);
      if (failed) state = `Version ${failed.version} cannot be loaded: ${failed.error}`;
    } else if (before !== undefined && before !== known.live && !$("version").value) {
      $("said").textContent = `Version ${known.live} is live.`;
      askAgain();
    }
  } catch {
    state = "The server does not answer. Is segpipe serve still running?";
  }
  $("model-state").textContent = state;
  $("model-state").hidden = !state;
  setTimeout(poll, POLL_MILLISECONDS);
}

let listed = ""; // what the list of versions was made from

function listVersions() {
  if (listed === JSON.stringify(known)) return; // an open list would jump
  listed = JSON.stringify(known);
  const options = [["", known.live === null ? "none yet" : `newest (${known.live})`, false]];
  for (const { version, error } of known.versions) {
    // Versions are seconds since 1970 unless someone chose others.
    const made = version > 1e9 ? `, ${new Date(1000 * version).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}` : "";
    options.push([String(version), `${version}${made}${error ? " (cannot be loaded)" : ""}`, Boolean(error)]);
  }
  const chosen = $("version").value;
  $("version").replaceChildren(
    ...options.map(([value, text, disabled]) => Object.assign(new Option(text, value), { disabled })),
  );
  $("version").value = options.some(([value]) => value === chosen) ? chosen : "";
  if (chosen !== $("version").value) askAgain();
}

function askAgain() {
  round += 1;
  // What is on the screen stays until the new answer is there.
  for (const photo of photos) photo.waiting = true;
  if (current) show();
  askAll(photos);
}
$("version").addEventListener("change", askAgain);

// ---- one photo shown -------------------------------------------------------------------------------------------

function select(photo) {
  current = photo;
  for (const other of photos) {
    if (other === photo) other.button.setAttribute("aria-current", "true");
    else other.button.removeAttribute("aria-current");
  }
  show();
}

function flag(photo) {
  photo.button.querySelector(".flag")?.remove();
  photo.button.setAttribute("aria-label", photo.file.name + (photo.problem ? `: ${photo.problem}` : ""));
  if (photo.problem) {
    photo.button.append(Object.assign(document.createElement("span"), { className: "flag", textContent: "broken" }));
  }
}

async function show() {
  const photo = current;
  const { answer, problem } = photo;
  $("problem").hidden = !problem;
  $("problem").textContent = problem ? `${photo.file.name}: ${problem}` : "";
  $("waiting").hidden = !photo.waiting;
  $("canvas").hidden = $("panel").hidden = !answer;
  $("facts").textContent = "";
  if (!answer) return;
  const [bitmap, labels, confidence] = await Promise.all([
    createImageBitmap(photo.source),
    greys(pngOf(answer.labels_png)),
    greys(pngOf(answer.confidence_png)),
  ]);
  if (photo !== current || answer !== photo.answer) return bitmap.close();
  shown?.photo.close();
  shown = { photo: bitmap, labels, confidence, overlay: null };
  listClasses(answer);
  $("confidence").textContent = percent(answer.mean_confidence);
  $("facts").textContent = `${photo.file.name}, ${answer.width} × ${answer.height}, version ${answer.version}`;
  const found = answer.classes.map(({ name, share }) => `${name} ${percent(share)}`).join(", ");
  $("canvas").setAttribute("aria-label", `${photo.file.name}: ${found}`);
  $("said").textContent = `${photo.file.name}: ${found}`;
  paint();
}

function listClasses({ classes, background }) {
  // The background starts switched off, as in the overlays that segpipe predict writes.
  if (!listClasses.seen) hidden.add(background);
  listClasses.seen = true;
  $("classes").querySelector("ul").replaceChildren(
    ...classes.map(({ name, colour, share }) => {
      const item = document.createElement("li");
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(name) });
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(name);
        else hidden.add(name);
        paint();
      });
      const part = (className, text = "") => Object.assign(document.createElement("span"), { className, textContent: text });
      label.style.setProperty("--colour", colour);
      label.style.setProperty("--share", percent(share).replace(" ", ""));
      label.append(box, part("swatch"), part("name", name), part("share", percent(share)), part("bar"));
      item.append(label);
      return item;
    }),
  );
}

/** Colours the overlay anew, for another view or other classes. */
function paint() {
  if (!shown || !current?.answer) return;
  const { classes, width, height } = current.answer;
  const confidence = document.querySelector("input[name=view]:checked").value === "confidence";
  $("legend").hidden = !confidence;
  $("classes").hidden = confidence;
  const names = new Set(classes.map(({ name }) => name).filter((name) => !hidden.has(name)));
  shown.overlay = confidence
    ? painted(shown.confidence, width, height, confidenceTable())
    : painted(shown.labels, width, height, classTable(classes, names));
  draw();
}

function draw() {
  $("opacity-value").textContent = `${$("opacity").value} %`;
  if (shown?.overlay) compose($("canvas"), shown.photo, shown.overlay, $("opacity").value / 100, false);
}

$("opacity").addEventListener("input", draw);
for (const choice of document.querySelectorAll("input[name=view]")) choice.addEventListener("change", paint);

// ---- downloads -------------------------------------------------------------------------------------------------

function save(blob, suffix) {
  const stem = current.file.name.replace(/\.[^.]*$/, "");
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${stem}-${suffix}.png` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$("save-mask").addEventListener("click", () => save(pngOf(current.answer.mask_png), "mask"));
$("save-overlay").addEventListener("click", () => {
  const canvas = canvasOf(1, 1);
  compose(canvas, shown.photo, shown.overlay, $("opacity").value / 100, true);
  canvas.toBlob((blob) => save(blob, "overlay"), "image/png");
});

poll();
