// The recursion, step by step, without the server: tiles move where the strip's layout says. See app/views/mosaic/page.py.
const FRACTIONS = ["the whole image", "half of the side", "a quarter of the side", "an eighth of the side"];

function words(step, r) {
  const k = Math.floor(step / 2);
  if (step === 0) return "r = 0: the image itself.";
  if (step === 1) return "Recursion 1 cuts the image into four patches.";
  if (step % 2) return `One of the four patches is picked, and recursion ${k + 1} cuts it into four.`;
  const end = k === r ? " This is what the first phase trains on." : "";
  return `r = ${k}: the four patches are shuffled. The smallest have ${FRACTIONS[k]}.${end}`;
}

function layTiles(box, { image, sources }) {
  const grid = Math.sqrt(sources[0].length);
  box.replaceChildren(...Array.from({ length: grid * grid }, (_, cell) => {
    const tile = document.createElement("div"), last = Math.max(1, grid - 1);
    tile.style.cssText = `width:${100.2 / grid}%;height:${100.2 / grid}%;background-size:${grid * 100}% ${grid * 100}%;` +
      `background-position:${(cell % grid) * 100 / last}% ${Math.floor(cell / grid) * 100 / last}%`;
    tile.style.backgroundImage = `url("${image}")`;
    return tile;
  }));
}

export default function ({ data, parentElement: root }) {
  const find = (name) => root.querySelector(name);
  const state = root.pmsi ??= { step: data.step, timer: 0 };
  const tiles = find(".tiles"), range = find("input");
  let shown = null, last = 0;

  function follow() {
    shown = window.pmsiMosaic;
    if (!shown) return; // the strip is not there yet, and will tell
    range.max = last = 2 * shown.recursions.length;
    if (state.image !== shown.image) { layTiles(tiles, shown); state.image = shown.image; }
    show(state.step);
  }

  function show(step) {
    const { recursions, sources } = shown, grid = Math.sqrt(sources[0].length);
    state.step = Math.min(last, Math.max(0, step));
    const done = Math.floor(state.step / 2), cutting = state.step % 2;
    sources[done].forEach((cell, place) => {
      const tile = tiles.children[cell], x = place % grid, y = Math.floor(place / grid);
      const way = `translate(${x * 100 / 1.002}%, ${y * 100 / 1.002}%)`;
      tile.className = tile.style.transform && tile.style.transform !== way ? "moving" : "";
      tile.style.transform = way;
    });
    const cuts = shown.borders ? done + cutting : 0;
    find("svg").innerHTML = marks(recursions, data.colors, cuts, cutting ? done : null);
    const text = words(state.step, recursions.length);
    find(".words").textContent = text;
    find(".stage").setAttribute("aria-label", `${data.title}. ${text}`);
    range.value = state.step;
    range.setAttribute("aria-valuetext", text);
    find("[data-do=back]").disabled = state.step === 0;
    find("[data-do=on]").disabled = state.step === last;
  }

  function remember() {
    const url = new URL(window.location.href);
    state.step ? url.searchParams.set("step", state.step) : url.searchParams.delete("step");
    if (url.href !== window.location.href) window.history.replaceState(window.history.state, "", url);
  }

  function stop() {
    clearInterval(state.timer);
    state.timer = 0;
    find("[data-do=play]").textContent = "▶ Play";
    find("[data-do=play]").setAttribute("aria-label", "Play");
    remember();
  }

  function play() {
    if (state.timer) return stop();
    if (state.step === last) show(0);
    find("[data-do=play]").textContent = "❚❚ Stop";
    find("[data-do=play]").setAttribute("aria-label", "Stop");
    state.timer = setInterval(() => { show(state.step + 1); if (state.step === last) stop(); }, 1300);
  }

  const go = (step) => { stop(); show(step); remember(); };
  const acts = { back: () => go(state.step - 1), on: () => go(state.step + 1), play };
  root.querySelectorAll("button").forEach((button) => { button.onclick = acts[button.dataset.do]; });
  range.oninput = () => go(Number(range.value));
  find(".steps").onkeydown = (event) => {
    const keys = { ArrowLeft: acts.back, ArrowRight: acts.on, Home: () => go(0), End: () => go(last), " ": play };
    const act = keys[event.key];
    if (!act || (event.key === " " && event.target.tagName === "BUTTON")) return;
    event.preventDefault();
    act();
  };
  window.addEventListener("pmsi-mosaic", follow);
  follow();
  return () => {
    clearInterval(state.timer);
    window.removeEventListener("pmsi-mosaic", follow);
  };
}
