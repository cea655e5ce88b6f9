const began = performance.now();
const $ = (id) => document.getElementById(id);
const tell = (text, problem = false) => {
  $("status").textContent = text;
  $("status").classList.toggle("problem", problem);
  if (problem) $("status").scrollIntoView({ block: "nearest" });
};
const unusable = (text) => { tell(text, true); document.body.className = "unusable"; };
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const percent = (p) => (p > 0.9995 ? "over 99.9\xa0%" : p < 0.0005 ? "under 0.1\xa0%" : `${(100 * p).toFixed(p < 0.1 || p > 0.99 ? 1 : 0)}\xa0%`);

if (document.body.className === "unusable") throw new Error($("status").textContent);
if (!$("end")) {
  unusable("This file is incomplete: it was cut off on its way. Get it again.");
  throw new Error("The end of the page is missing.");
}
const about = JSON.parse($("about").textContent);
const STAGES = ["S3", "S4", "S5"], PREDICTED = -1;
const state = { photo: null, label: PREDICTED, head: about.heads.indexOf(about.primary), times: {}, answers: [], work: Promise.resolve() };

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

/** The bytes of a text in base 85: five digits for four bytes. */
function bytesOf(text) {
  const digit = new Uint8Array(128), missing = (5 - (text.length % 5)) % 5, size = (text.length + missing) / 5 * 4;
  for (let i = 0; i < 85; i++) digit[DIGITS.charCodeAt(i)] = i;
  const bytes = new Uint8Array(size), at = (i) => (i < text.length ? digit[text.charCodeAt(i)] : 84);
  for (let i = 0, out = 0; out < size; i += 5, out += 4) {
    const value = (((at(i) * 85 + at(i + 1)) * 85 + at(i + 2)) * 85 + at(i + 3)) * 85 + at(i + 4);
    bytes[out] = value / 2 ** 24;
    bytes[out + 1] = value >>> 16;
    bytes[out + 2] = value >>> 8;
    bytes[out + 3] = value;
  }
  return bytes.subarray(0, size - missing);
}

/** The content of a part of this page: base 85 of gzip. */
async function unpacked(id) {
  const bytes = bytesOf($(id).textContent);
  $(id).remove();
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

/** The model's file, in which the two bytes of each half-precision number have been laid apart, put together again. */
function joined(model) {
  for (const [start, size] of about.halves) {
    const apart = model.slice(start, start + size), half = size / 2;
    for (let i = 0; i < half; i++) { model[start + 2 * i] = apart[i]; model[start + 2 * i + 1] = apart[half + i]; }
  }
  return model;
}

async function load() {
  const [code, wasm, model] = await Promise.all(["ort", "wasm", "model"].map(unpacked)).catch(() => {
    throw new Error("this file is damaged. Get it again.");
  });
  const ort = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
  return { ort, session: await ort.InferenceSession.create(joined(model), options) };
}
const engine = load();

/** The stored pixels of a picture or a video frame, upright, as RGBA over white; fewer where there are too many. */
async function pixels(source) {
  const bitmap = await createImageBitmap(source, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const shrink = Math.min(1, Math.sqrt(about.most_pixels / (bitmap.width * bitmap.height)));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * shrink)));
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** The probabilities that logits stand for at a temperature. */
function probabilities(logits, temperature) {
  const most = Math.max(...logits), raised = logits.map((logit) => Math.exp((logit - most) / temperature));
  const sum = raised.reduce((total, value) => total + value, 0);
  return raised.map((value) => value / sum);
}

/** Probabilities by head: calibrated, where the run has temperatures, unless raw ones are wanted. */
function byHead(logits) {
  const classes = about.classes.length, raw = $("raw").firstChild.checked;
  return about.heads.map((name, i) => probabilities(logits.slice(i * classes, (i + 1) * classes), (!raw && about.temperatures[name]) || 1));
}

/** What the network says of a photo: probabilities by head, the class explained, three maps, the pixels that it saw. */
async function ask(photo, head, label) {
  const { ort, session } = await engine;
  const number = (value) => new ort.Tensor("int64", BigInt64Array.of(BigInt(value)), []);
  const given = new ort.Tensor("uint8", new Uint8Array(photo.data.buffer), [1, photo.height, photo.width, 4]);
  const before = performance.now();
  const found = await session.run({ photo: given, head: number(head), label: number(label) });
  const logits = Array.from(found.logits.data);
  return {
    ms: performance.now() - before,
    explained: Number(found.explained.data[0]),
    logits,
    heads: byHead(logits),
    maps: Object.fromEntries(STAGES.map((stage) => [stage, { values: found[stage].data, sides: found[stage].dims }])),
    seen: found.seen.data,
  };
}

/** One at a time, in the order of asking. */
function queued(task) {
  state.work = state.work.then(task, task);
  return state.work;
}

/** A map enlarged bilinearly to the network's input, 0 to 1 of its own largest value. */
function enlarged({ values, sides: [height, width] }, side) {
  const peak = Math.max(...values) || 1, out = new Float32Array(side * side);
  const place = (i, cells) => {
    const at = Math.min(Math.max((i + 0.5) * cells / side - 0.5, 0), cells - 1), low = Math.min(Math.floor(at), Math.max(cells - 2, 0));
    return [low, Math.min(low + 1, cells - 1), at - low];
  };
  const across = Array.from({ length: side }, (_, x) => place(x, width));
  for (let y = 0; y < side; y++) {
    const [top, bottom, v] = place(y, height);
    for (let x = 0; x < side; x++) {
      const [left, right, u] = across[x], row = (i) => values[i * width + left] * (1 - u) + values[i * width + right] * u;
      out[y * side + x] = (row(top) * (1 - v) + row(bottom) * v) / peak;
    }
  }
  return out;
}

function draw(canvas, seen, heat) {
  const side = about.image_size, picture = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    const at = heat && 3 * Math.round(Math.min(1, heat[i]) * 255);
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = heat ? (seen[3 * i + c] + about.colours[at + c]) / 2 : seen[3 * i + c];
    picture.data[4 * i + 3] = 255;
  }
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

const ranked = (p) => p.map((value, label) => ({ value, label })).sort((a, b) => b.value - a.value);

/** Whether a photo may be of none of the classes: by its largest logit, or without a threshold by its probability. */
function doubtful(answer) {
  const primary = about.heads.indexOf(about.primary), classes = about.classes.length;
  if (about.threshold !== null) return Math.max(...answer.logits.slice(primary * classes, (primary + 1) * classes)) < about.threshold;
  return about.unsure_below !== null && Math.max(...answer.heads[primary]) < about.unsure_below;
}

function show(answer) {
  const name = about.classes, [best] = ranked(answer.heads[state.head]);
  $("answer").hidden = false;
  $("invite").hidden = true;
  const said = [name[best.label], " ", element("span", { textContent: percent(best.value) })];
  if ($("best").textContent !== said.map((part) => part.textContent ?? part).join("")) $("best").replaceChildren(...said);
  $("doubt").hidden = !doubtful(answer);
  draw($("seen"), answer.seen, null);
  $("seen").setAttribute("aria-label", `The picture as the network sees it: ${name[best.label]}, ${percent(best.value)}`);
  for (const stage of STAGES) {
    draw($(`map-${stage}`), answer.seen, enlarged(answer.maps[stage], about.image_size));
    $(`map-${stage}`).setAttribute("aria-label", `Where ${stage} looked for ${name[answer.explained]}`);
  }
  $("looked").textContent = `Where each stage looked for ${name[answer.explained]}, for the output ${about.heads[state.head]}; each map in its own scale. ${Math.round(answer.ms)} ms on this device.`;
  $("heads").replaceChildren(...about.heads.map((head, i) => {
    const [mine] = ranked(answer.heads[i]);
    const radio = element("input", { type: "radio", name: "head", checked: i === state.head, onchange: () => choose({ head: i, label: PREDICTED }) });
    return element("label", {}, radio, element("b", { textContent: head }), element("span", { textContent: `${name[mine.label]} ${percent(mine.value)}` }));
  }));
  $("heads").hidden = about.heads.length < 2;
  $("top").replaceChildren(...ranked(answer.heads[state.head]).slice(0, 5).map(({ value, label }) => {
    const bar = element("i");
    bar.style.transform = `scaleX(${value})`;
    const button = element("button", { type: "button", onclick: () => choose({ label }) }, name[label], element("span", { textContent: percent(value) }), bar);
    button.setAttribute("aria-pressed", label === answer.explained);
    return element("li", {}, button);
  }));
  tell("");
}

/** Explain another head or class of the photo that is shown, and keep the focus where it was. */
async function choose(change) {
  Object.assign(state, change);
  const focused = document.activeElement, list = focused?.closest("#top, #heads"), at = list ? [...list.querySelectorAll("button, input")].indexOf(focused) : -1;
  await update();
  if (list) list.querySelectorAll("button, input")[at]?.focus();
}

async function update() {
  if (!state.photo) return null;
  return queued(async () => {
    const answer = await ask(state.photo, state.head, state.label);
    show(answer);
    state.times.first ??= performance.now() - began;
    return (state.answer = answer);
  });
}

const failed = (error) => tell(`That did not work: ${error?.message ?? error}`, true);

async function look(source, name) {
  try { state.photo = await pixels(source); } catch { tell(`${name} is no picture that this browser can read.`, true); return null; }
  Object.assign(state, { label: PREDICTED });
  return update().catch(failed);
}

/** One photo is shown; several are answered one after the other, and listed. */
async function open(files) {
  const photos = [...files];
  stop();
  if (photos.length <= 1) { if (photos.length) await look(photos[0], photos[0].name); return; }
  state.answers = [];
  $("rows").replaceChildren();
  $("batch").hidden = false;
  for (const [i, file] of photos.entries()) {
    $("counted").textContent = `${i + 1} of ${photos.length}`;
    const answer = await look(file, file.name);
    const [best] = answer ? ranked(answer.heads[state.head]) : [];
    state.answers.push({ file, answer });
    const button = element("button", { type: "button", textContent: file.name, onclick: () => look(file, file.name) });
    const said = answer ? about.classes[best.label] + (doubtful(answer) ? " (not one of mine?)" : "") : "no picture that this browser can read";
    $("rows").append(element("tr", {}, element("td", {}, button), element("td", { textContent: said }), element("td", { textContent: answer ? percent(best.value) : "" })));
  }
  $("counted").textContent = `${photos.length} photos`;
}

/** A line for each photo: for each head its answer and its probability, 0 to 1. */
function csv() {
  const quoted = (value) => /^[=+\-@\t\r]/.test(value) ? `"'${String(value).replaceAll('"', '""')}"` : `"${String(value).replaceAll('"', '""')}"`;
  const lines = [["photo", ...about.heads.flatMap((head) => [head, `${head} probability`]), "doubtful"]];
  for (const { file, answer } of state.answers)
    lines.push([file.name, ...about.heads.flatMap((_, i) => {
      const [best] = answer ? ranked(answer.heads[i]) : [];
      return best ? [about.classes[best.label], best.value.toFixed(4)] : ["", ""];
    }), answer ? doubtful(answer) : ""]);
  return lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
}
$("csv").onclick = () => element("a", { href: URL.createObjectURL(new Blob(["\ufeff", csv()], { type: "text/csv" })), download: "answers.csv" }).click();

for (const id of ["file", "shot"]) $(id).onchange = (event) => open(event.target.files).then(() => { event.target.value = ""; });
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => { event.preventDefault(); document.body.classList.remove("dropping"); open(event.dataTransfer.files); });
addEventListener("paste", (event) => open(event.clipboardData.files));

function stop() {
  $("live").setAttribute("aria-pressed", false);
  $("video").srcObject?.getTracks().forEach((track) => track.stop());
  $("video").srcObject = null;
  $("video").hidden = true;
}
$("raw").hidden = !Object.keys(about.temperatures).length;
$("raw").onchange = () => {
  for (const answer of [state.answer, ...state.answers.map((each) => each.answer)]) if (answer) answer.heads = byHead(answer.logits);
  state.answers.forEach(({ answer }, i) => { if (answer) $("rows").rows[i].lastChild.textContent = percent(Math.max(...answer.heads[state.head])); });
  if (state.answer) show(state.answer);
};

$("live").hidden = !navigator.mediaDevices?.getUserMedia;
$("live").onclick = async () => {
  if ($("live").getAttribute("aria-pressed") === "true") return stop();
  const video = $("video");
  try { video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }); } catch (error) {
    return tell(error.name === "NotAllowedError" ? "The camera is not allowed for this page: allow it in the browser's settings, or choose a photo." : "There is no camera to use: choose a photo.", true);
  }
  $("live").setAttribute("aria-pressed", true);
  video.hidden = false;
  $("invite").hidden = true;
  await video.play();
  while ($("live").getAttribute("aria-pressed") === "true") {
    if (video.videoWidth) await look(video, "The camera's picture");
    await new Promise(requestAnimationFrame);
  }
};

$("maps").replaceChildren(...STAGES.map((stage) => {
  const canvas = element("canvas", { id: `map-${stage}`, width: about.image_size, height: about.image_size });
  canvas.setAttribute("role", "img");
  return element("figure", {}, canvas, element("figcaption", { textContent: stage }));
}));
$("doubt").textContent = "Not one of mine? " + (about.threshold !== null
  ? "19 in 20 images of its classes look more familiar to it."
  : `It was surer of 19 in 20 of its own test images (over ${percent(about.unsure_below ?? 0)}).`);
$("about-model").textContent = about.says;
$("classes").replaceChildren(...about.classes.map((name, i) => {
  const picture = about.thumbnails[i];
  return element("li", {}, ...(picture ? [element("img", { src: `data:image/webp;base64,${picture}`, alt: "", loading: "lazy" })] : []), name);
}));
if (about.worker && location.protocol.startsWith("http") && "serviceWorker" in navigator) navigator.serviceWorker.register(about.worker).catch(() => {});
engine.then(() => { tell(`Ready. It knows ${about.classes.length} classes.`); document.body.dataset.ready = "yes"; }, (error) => {
  unusable(`The model cannot be used here: ${error?.message ?? error}`);
});
Object.assign(window, { lab: { about, ask, csv, engine, pixels, state } });
