// The recursion, step by step, without the server: tiles move where `sources` says. See app/mosaic_steps.py for the data.
const FRACTIONS = ["the whole image", "half of the side", "a quarter of the side", "an eighth of the side"];

function words(step, r) {
  const k = Math.floor(step / 2);
  if (step === 0) return "r = 0: the image itself.";
  if (step === 1) return "Recursion 1 cuts the image into four patches.";
  if (step % 2) return `One of the four patches is picked, and recursion ${k + 1} cuts it into four.`;
  const end = k === r ? " This is what the first phase trains on." : "";
  return `r = ${k}: the four patches are shuffled. The smallest have ${FRACTIONS[k]}.${end}`;
}

function lines({ block: [x, y, side] }, color, shown) {
  const h = side / 2, path = `M${x + h} ${y}V${y + side}M${x} ${y + h}H${x + side}`;
  const opacity = shown ? 1 : 0;
  return `<path d="${path}" stroke="#10141a" stroke-width="4.5" opacity="${opacity}"/>` +
    `<path d="${path}" stroke="${color}" stroke-width="2.5" opacity="${opacity}"/>`;
}

function frame([x, y, side], color) {
  const inner = `M${x} ${y}v${side}h${side}v${-side}z`;
  return `<path class="shade" fill-rule="evenodd" d="M0 0H1V1H0z${inner}"/>` +
    `<path d="${inner}" stroke="${color}" stroke-width="5"/>`;
}

function layTiles(box, { image, grid }) {
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
  const last = 2 * data.recursions.length, tiles = find(".tiles"), range = find("input");
  range.max = last;

  function show(step) {
    state.step = Math.min(last, Math.max(0, step));
    const done = Math.floor(state.step / 2), cutting = state.step % 2;
    data.sources[done].forEach((cell, place) => {
      const tile = tiles.children[cell], x = place % data.grid, y = Math.floor(place / data.grid);
      const way = `translate(${x * 100 / 1.002}%, ${y * 100 / 1.002}%)`;
      tile.className = tile.style.transform && tile.style.transform !== way ? "moving" : "";
      tile.style.transform = way;
    });
    const borders = data.borders ? data.recursions.map((one, k) => lines(one, data.colors[k], k < done + cutting)) : [];
    const framed = cutting ? frame(data.recursions[done].block, data.colors[done]) : "";
    find("svg").innerHTML = borders.join("") + framed;
    const text = words(state.step, data.recursions.length);
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
  const drawn = JSON.stringify([data.image.length, data.image.slice(-80), data.grid]);
  if (state.drawn !== drawn) { layTiles(tiles, data); state.drawn = drawn; }
  show(state.step);
  return () => clearInterval(state.timer);
}
